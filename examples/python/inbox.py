"""Takes what arrived in an inbox of a node, with the standard library alone.

    python3 inbox.py http://127.0.0.1:7480 TOKEN INBOX FOLDER

Each content is fetched, by what is missing of it if that was begun before, and then said to be
processed: its sender hears of it. It may be ended at any time, and begun again.
"""

import json
import os
import sys
import urllib.error
import urllib.request


class Inbox:
    def __init__(self, url: str, token: str, inbox: str) -> None:
        self.url, self.token, self.inbox = url.rstrip("/"), token, inbox

    def request(self, path: str, method: str = "GET", **headers: str):
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        request = urllib.request.Request(self.url + path, None, headers, method=method)
        return urllib.request.urlopen(request, timeout=90)

    def waiting(self):
        """What is not processed yet, page by page."""
        after = ""
        while after is not None:
            path = f"/v1/inbox/{self.inbox}?processed=no&limit=100"
            with self.request(path + (f"&after={after}" if after else "")) as answer:
                page = json.load(answer)
            yield from page["arrivals"]
            after = page["after"]

    def fetch(self, arrival: dict, path: str) -> None:
        part, size, tag = path + ".part", arrival["bytes"], f'"{arrival["blake3"]}"'
        have = os.path.getsize(part) if os.path.exists(part) else 0
        if have < size or not os.path.exists(part):
            # All of it comes if what was begun is of another content.
            headers = {"Range": f"bytes={have}-", "If-Range": tag} if have else {}
            with self.request(arrival["content"], **headers) as answer:
                mode = "ab" if answer.status == 206 else "wb"
                with open(part, mode) as file:
                    while piece := answer.read(1 << 16):
                        file.write(piece)
                    os.fsync(file.fileno())
        if os.path.getsize(part) != size:
            raise OSError(f"{path} is not whole: begin it again")
        os.rename(part, path)

    def done(self, arrival: dict) -> None:
        path, _, query = arrival["content"].partition("?")
        self.request(f"{path}/processed?{query}", "POST").close()


def main() -> int:
    url, token, inbox, folder = sys.argv[1:]
    door = Inbox(url, token, inbox)
    for arrival in door.waiting():
        # Names are those of senders: the id keeps them apart.
        name = f"{arrival['id'][:8]}-{os.path.basename(arrival['name'])}"
        try:
            door.fetch(arrival, os.path.join(folder, name))
        except urllib.error.HTTPError as error:
            print(f"{name}: {json.load(error)['detail']}", file=sys.stderr)
            return 1
        door.done(arrival)
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
