"""Takes what arrived in an inbox of a node, with the standard library alone.

    estafette token add till --to read:INBOX,done:INBOX
    python3 inbox.py http://127.0.0.1:7480 TOKEN INBOX FOLDER

Each content is fetched, by what is missing of it if that was begun before, is made durable, and is
then said to be processed: its sender hears of it. It may be ended at any time, and begun again. What
can't be had is told, the others are taken, and it ends with 1. With the package `blake3` what is
begun is compared with the digest, and else one that is whole already is fetched again.
"""

import filecmp
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

try:
    import blake3
except ImportError:
    blake3 = None


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

    def fetch(self, arrival: dict, part: str) -> None:
        size = arrival["bytes"]
        have = os.path.getsize(part) if os.path.exists(part) else 0
        if blake3 and have == size and is_whole(arrival, part):
            return
        begun = have if have < size else 0
        self.get(arrival, part, begun)
        if begun and not is_whole(arrival, part):
            self.get(arrival, part, 0)
        if not is_whole(arrival, part):
            raise Unfit("it is not whole: begin it again")

    def get(self, arrival: dict, part: str, begun: int) -> None:
        # All of it comes if what was begun is of another content.
        tag = f'"{arrival["blake3"]}"'
        headers = {"Range": f"bytes={begun}-", "If-Range": tag} if begun else {}
        with self.request(arrival["content"], **headers) as answer:
            with open(part, "ab" if answer.status == 206 else "wb") as file:
                while piece := answer.read(1 << 16):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())

    def done(self, arrival: dict) -> None:
        path, _, query = arrival["content"].partition("?")
        self.request(f"{path}/processed?{query}", "POST").close()


class Unfit(Exception):
    """Something is wrong with one arrival."""


def is_whole(arrival: dict, part: str) -> bool:
    if os.path.getsize(part) != arrival["bytes"]:
        return False
    if not blake3:
        return True
    digest = blake3.blake3()
    with open(part, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest() == arrival["blake3"]


def named(arrival: dict) -> str:
    """A name that no other arrival has: senders choose names, and ids, too."""
    query = urllib.parse.urlsplit(arrival["content"]).query
    sender = urllib.parse.parse_qs(query)["from"][0]
    given = os.path.basename(arrival["name"])
    shown = "".join(one if one.isprintable() else "_" for one in given)
    start = f"{sender}-{arrival['id']}-"
    return start + shown.encode()[: 250 - len(start)].decode(errors="ignore")


def placed(part: str, path: str) -> None:
    """Gives it its name, durably, in the place of nothing."""
    try:
        os.link(part, path)
    except FileExistsError:
        # It may have been ended before it said that it was done.
        if not os.path.isfile(path) or not filecmp.cmp(part, path, shallow=False):
            raise Unfit("there is something else of that name") from None
    os.unlink(part)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def main() -> int:
    url, token, inbox, folder = sys.argv[1:]
    door, failed = Inbox(url, token, inbox), 0
    for arrival in door.waiting():
        name = named(arrival)
        path = os.path.join(folder, name)
        try:
            door.fetch(arrival, path + ".part")
            placed(path + ".part", path)
            door.done(arrival)
        except urllib.error.HTTPError as error:
            print(f"{name}: {json.load(error)['detail']}", file=sys.stderr)
            if error.code not in (404, 410, 503):
                return 1
            failed = 1
        except Unfit as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = 1
        else:
            print(name)
    return failed


if __name__ == "__main__":
    sys.exit(main())
