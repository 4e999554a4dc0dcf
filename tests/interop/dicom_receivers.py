"""DICOM storage servers that none of us wrote, each on a free port with a store of its own."""

import json
import urllib.error
import urllib.request

from dicom_objects import fingerprint, read_fingerprint
from processes import READY_WITHIN_SECONDS, Failure, await_port, eventually, free_port

ANSWER_TIMEOUT_SECONDS = 60


class Storescp:
    """DCMTK's storescp. It writes data sets exactly as received, and forks for each association."""

    name = "storescp"

    def __init__(self, processes):
        self.port = free_port()
        self._folder = processes.folder / "received"
        self._folder.mkdir()
        command = ["storescp", "--fork", "+B", "+xa", "-od", self._folder, self.port]
        processes.start(self.name, command)
        await_port(self.port, processes)

    def stored(self):
        """What it holds, as complete objects."""
        return [read_fingerprint(path) for path in self._folder.iterdir()]

    def is_empty(self):
        return not any(self._folder.iterdir())

    def forget(self):
        for path in self._folder.iterdir():
            path.unlink()


class Orthanc:
    """The Orthanc server. What it holds is asked of its REST interface, as its users would."""

    name = "orthanc"

    def __init__(self, processes):
        self.port, http_port = free_port(), free_port()
        self._url = f"http://127.0.0.1:{http_port}"
        config = processes.folder / "orthanc.json"
        store = str(processes.folder / "orthanc-store")
        settings = {
            "Name": "INTEROP",
            "StorageDirectory": store,
            "IndexDirectory": store,
            "HttpPort": http_port,
            "DicomAet": "ORTHANC",
            "DicomPort": self.port,
            "DicomCheckCalledAet": False,
            "DicomAlwaysAllowStore": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "OverwriteInstances": True,
            "Plugins": [],
        }
        config.write_text(json.dumps(settings))
        self._process = processes.start(self.name, ["Orthanc", config])
        if not eventually(self._answers, READY_WITHIN_SECONDS):
            raise Failure(f"Orthanc does not answer{processes.last_words()}")
        await_port(self.port, processes)

    def stored(self):
        found = []
        for instance in self._list():
            with self._ask(f"/instances/{instance}/file") as file:
                found.append(fingerprint(file))
        return found

    def is_empty(self):
        return not self._list()

    def forget(self):
        for instance in self._list():
            self._ask(f"/instances/{instance}", "DELETE").close()

    def _list(self):
        with self._ask("/instances") as answer:
            return json.load(answer)

    def _answers(self):
        if self._process.poll() is not None:
            return True  # Ended: what waits for its port tells why.
        try:
            self._ask("/system").close()
            return True
        except urllib.error.URLError:
            return False

    def _ask(self, path, method="GET"):
        request = urllib.request.Request(self._url + path, method=method)
        return urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_SECONDS)


RECEIVERS = [Storescp, Orthanc]
