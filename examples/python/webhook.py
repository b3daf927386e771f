"""Takes webhooks of a node, verified, and prints each as a line of JSON.

    pip install standardwebhooks cloudevents
    python webhook.py PORT SECRET_FILE

With SECRET_FILE as the node has it. Port 0 is any free one; the first line says which.
A message that was handled already, as its answer was lost, say, is answered well and not printed.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook, WebhookVerificationError

with open(sys.argv[2], encoding="ascii") as file:
    WEBHOOK = Webhook(file.read().strip())
HANDLED = set()  # a real one keeps them for as long as a message may be tried


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            data = WEBHOOK.verify(body, headers)
        except WebhookVerificationError as error:
            self.send_error(401, str(error))
            return
        told = {"id": headers["webhook-id"], "type": headers["estafette-type"], "data": data}
        if "ce-id" in headers or "cloudevents" in headers["content-type"]:
            event = from_http_event(HTTPMessage(headers, body))
            told |= {
                "type": event.get_type(),
                "source": event.get_source(),
                "event": event.get_id(),
                "year": event.get_time().year,
                "data": event.get_data(),
            }
        if told["id"] not in HANDLED:
            HANDLED.add(told["id"])
            print(json.dumps(told), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print(server.server_port, flush=True)
server.serve_forever()
