"""A client of actors with the standard library alone: ask, deliver once, and answers as they come.

    python3 shop_http.py http://127.0.0.1:7480 TOKEN PEER/NAME TYPE JSON [ask|deliver|download]
"""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid


class Door:
    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url.rstrip("/"), token

    def request(self, method: str, path: str, body=None, **headers: str):
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        return urllib.request.urlopen(request, timeout=90)

    def ask(self, to: str, message: str, body):
        with self.request("POST", f"/v1/ask/{to}/{message}", body) as answer:
            return json.load(answer)

    def deliver(self, to: str, message: str, body, key: str):
        """Stores it, once for this key: whatever happens meanwhile, it may be tried again."""
        while True:
            try:
                path = f"/v1/deliver/{to}/{message}"
                headers = {"Idempotency-Key": key}
                with self.request("POST", path, body, **headers) as answer:
                    return answer.headers["Location"]
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise
                time.sleep(float(error.headers.get("Retry-After", 1)))
            except (urllib.error.URLError, ConnectionError):
                # Whether it was stored is not known, and need not be.
                time.sleep(1)

    def over(self, place: str):
        """Waits until a delivery is over, for days if need be."""
        while True:
            with self.request("GET", place, Prefer="wait=60") as answer:
                state = json.load(answer)
            if state["state"] in ("processed", "dead"):
                return state

    def download(self, to: str, message: str, body):
        with self.request("POST", f"/v1/download/{to}/{message}", body) as answers:
            for line in answers:
                answer = json.loads(line)
                # The last line of a stream that has failed; then the body breaks off.
                kind = answer.get("type", "") if isinstance(answer, dict) else ""
                if str(kind).startswith("urn:estafette:problem:"):
                    raise RuntimeError(f"{answer['detail']} (handled: {answer['handled']})")
                yield answer


def main(url: str, token: str, to: str, message: str, text: str, way: str = "ask") -> None:
    door, body = Door(url, token), json.loads(text)
    try:
        if way == "ask":
            print(json.dumps(door.ask(to, message, body)))
        elif way == "deliver":
            print(json.dumps(door.over(door.deliver(to, message, body, str(uuid.uuid4())))))
        else:
            for answer in door.download(to, message, body):
                print(json.dumps(answer), flush=True)
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        sys.exit(f"{problem['title']}: {problem['detail']} (handled: {problem['handled']})")


if __name__ == "__main__":
    main(*sys.argv[1:])
