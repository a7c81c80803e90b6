# A thin list: tools/bootstrap.py sets up what a target needs, quickly when run again.
PYTHON ?= python3
RUN = .venv/bin

.PHONY: demo test check bench-runtime bench-density bench-hostile bench-mesh bench-gateway bench-workflows sim chaos engines setup clean help

demo: ## set up what it needs and run the main job
	@$(PYTHON) tools/bootstrap.py demo $(ARGS)
	@$(RUN)/gossamer demo $(ARGS)

test: ## set up what it needs and pass all the tests, with the real engines
	@$(PYTHON) tools/bootstrap.py test
	@$(MAKE) --no-print-directory check
	@$(RUN)/python -m tests.whole $(ARGS)

check: ## ruff, mypy --strict, import directions, house rules
	@$(PYTHON) tools/bootstrap.py check
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports
	@$(RUN)/python -m pytest -q tests/house

bench-runtime: ## what a job costs on this machine, beside Extism and wasmtime's own API
	@$(PYTHON) tools/bootstrap.py check
	@$(RUN)/python -m benchmarks.runtime $(ARGS)

bench-density: ## 100,000 live instances in one process; a start with 100,000 services
	@$(PYTHON) tools/bootstrap.py check
	@$(RUN)/python benchmarks/bench_density.py $(ARGS)
	@$(RUN)/python benchmarks/bench_registry.py

bench-hostile: ## guests that attack: how late they are ended, what is left of them, what others feel
	@$(PYTHON) tools/bootstrap.py check
	@$(RUN)/python -m benchmarks.bench_hostile $(ARGS)

bench-mesh: ## what the mesh costs and how fast it is, beside memberlist: tables and charts
	@$(PYTHON) tools/bootstrap.py check
	@$(RUN)/python -m benchmarks.mesh $(or $(ARGS),--out benchmarks/results/mesh --page docs/explanation/mesh-figures.md)

bench-gateway: ## what the gateway adds to a call, beside a bare application; 2,000 clients that wait
	@$(PYTHON) tools/bootstrap.py test
	@$(RUN)/python -m benchmarks.gateway $(ARGS)

bench-workflows: ## what runs of workflows cost on each storage, beside Kafka and PostgreSQL by hand; event to page
	@$(PYTHON) tools/bootstrap.py test
	@$(RUN)/python -m benchmarks.workflows $(or $(ARGS),--out benchmarks/results/workflows.json)

sim: ## whole meshes in virtual time: SEEDS=200 of them, or HOURS=1 of fresh ones
	@$(PYTHON) tools/bootstrap.py check
	@$(RUN)/python -m gossamer_mesh.testing.sim $(if $(HOURS),--hours $(HOURS),--seeds $(or $(SEEDS),200)) $(ARGS)

chaos: ## break a mesh in every way on the real engines, and judge (root; 40 minutes)
	@$(PYTHON) tools/bootstrap.py test
	@$(RUN)/python -m tests.integration.chaos $(ARGS)

engines: ## start a Camunda 7 and a Zeebe here and print their URLs
	@$(PYTHON) tools/bootstrap.py engines
	@$(RUN)/gossamer engines $(ARGS)

setup: ## everything a developer needs
	@$(PYTHON) tools/bootstrap.py test

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

clean: ## remove what setup made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
