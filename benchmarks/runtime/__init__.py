"""What a job in a fresh WebAssembly instance costs, beside peers: `python -m benchmarks.runtime`.

`guest.c` is the worker, built for both ABIs when the benchmark begins. `ways` are the ways to run
it, one job after another, each measured in turns of a tenth of a second, so that what else the
machine does meets them all. `steps` are the readings and writings of a job's variables. `crowds`
are many jobs under trio on two threads, short and long ones, with the loop's lateness beside that
of a process which only sleeps (`benchmarks/bystander.py`).
"""
