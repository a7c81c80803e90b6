"""What the mesh costs and how it behaves, beside memberlist: `python -m benchmarks.mesh --help`.

Each part is a module with `NAME`, `TITLE`, `HOW` and `run(scale, say) -> Part`. What is simulated
runs the real cores in virtual time, so its figures are the same on every machine for the same seed
and commit; what is real runs on this one. `report` turns parts into files, `charts` draws.
"""
