"""Sends an event to an actor with the stock package of CloudEvents, and prints what became of it.

    pip install cloudevents
    python event.py http://127.0.0.1:7480 TOKEN PEER/NAME TYPE SOURCE ID JSON [binary|structured]

Its source and id are its key: sent again, it is the same message, and handled once.
"""

import json
import sys
import urllib.error
import urllib.request

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent


def main(url, token, to, kind, source, identity, text, mode="binary"):
    attributes = {"type": kind, "source": source, "id": identity}
    event = CloudEvent({**attributes, "datacontenttype": "application/json"}, json.loads(text))
    message = to_structured_event(event) if mode == "structured" else to_binary_event(event)
    headers = {**message.headers, "Authorization": f"Bearer {token}", "Prefer": "wait=60"}
    request = urllib.request.Request(f"{url}/v1/events/{to}", message.body, headers)
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            print(json.dumps(json.load(answer)))
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        sys.exit(f"{problem['title']}: {problem['detail']} (handled: {problem['handled']})")


if __name__ == "__main__":
    main(*sys.argv[1:])
