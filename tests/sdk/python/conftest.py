"""The parties: the simulated vendor, the real gateway in front of it, and the clients' settings."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from vendor import Vendor  # noqa: E402

# The same vendor, asked in either language: a client whose own language it is gets bytes, the other a translation.
TARGETS = ["openai", "anthropic"]


class Gateway:
    def __init__(self, vendor, state):
        config = pathlib.Path(state, "policy-config.yaml")
        config.write_text(
            pathlib.Path(__file__)
            .parent.parent.joinpath("policy-config.yaml")
            .read_text()
            .replace("PORT", str(vendor.port))
        )
        self.kt = os.environ["KT"]
        self.state = pathlib.Path(state, "state")
        command = [self.kt, "gateway", "run", "--policy-config", config, "--listen", "127.0.0.1:0", "--cores", "1"]
        env = {**os.environ, "VENDOR_KEY": "sk-vendor", "CLIENT_KEY": "sk-client"}
        self.process = subprocess.Popen(
            [*command, "--state-dir", self.state], stderr=subprocess.PIPE, text=True, env=env
        )
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if "Starting gateway on " in line:
                self.url = "http://" + line.split("Starting gateway on ")[1].strip()
            if "Gateway ready" in line:
                break
        else:
            raise RuntimeError("the gateway did not start:\n" + "".join(lines))

    def decisions(self, request_id):
        """The decisions about requests of this id, once there are any: they are written a moment after the answer."""
        command = [self.kt, "events", "tail", "--last", "50", "--format", "json", "--state-dir", self.state]
        for _ in range(200):
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = [event for event in map(json.loads, output.splitlines()) if event["request_id"] == request_id]
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"there is no decision about {request_id}")

    def stop(self):
        self.process.terminate()
        rest = self.process.stderr.read()
        self.process.wait(20)
        assert "panicked" not in rest, rest


@pytest.fixture(scope="session")
def vendor():
    return Vendor()


@pytest.fixture(scope="session")
def gateway(vendor):
    with tempfile.TemporaryDirectory(prefix="kt-sdk-") as state:
        gateway = Gateway(vendor, state)
        yield gateway
        gateway.stop()


@pytest.fixture(params=TARGETS)
def target(request):
    return request.param
