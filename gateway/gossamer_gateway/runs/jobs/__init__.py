"""How steps reach workers that ask for them: over HTTP (`http`), and over the external tasks of
Camunda 7's dialect (`dialect`), which nodes of the mesh speak.

Both wait in `polls`, and both answer by what `runs.results` says. `asked` remembers which actions
anybody asks for.
"""
