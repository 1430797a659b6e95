"""The gateway that the package starts for patched clients: its OpenAI-compatible HTTP server, on a port of its choice."""

import signal
import sys

from tensorzero import patch_openai_client


class Client:
    base_url = ""


client = patch_openai_client(Client(), config_file=sys.argv[1], async_setup=False)
print(client.base_url, flush=True)
signal.pause()
