"""`gossamer demo`: the hotel reservation on real nodes and a real engine, checked to the last job.

`processes` runs nodes, `stage` says which, `play` runs the reservations and kills a node on
request, `verdict` judges what the engine and the microservices' databases say, `show` is what a
person sees.
"""
