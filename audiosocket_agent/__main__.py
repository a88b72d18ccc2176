"""`python -m audiosocket_agent`."""

from audiosocket_agent.cli import main

main()
