"""How tests tell of what they download: a person should not think that they hang."""

import pytest

from gossamer_node.local_engines import Progress, lines


def downloads_shown(config: pytest.Config) -> Progress:
    """Writes to the terminal how far downloads are; of the rest nothing."""
    plugins = config.pluginmanager

    def write_line(line: str) -> None:
        with plugins.getplugin("capturemanager").global_and_fixture_disabled():
            plugins.getplugin("terminalreporter").write_line(line)

    report = lines(write_line, terminal=False)

    def downloads(text: str, fraction: float | None) -> None:
        if fraction is not None:
            report(text, fraction)

    return downloads
