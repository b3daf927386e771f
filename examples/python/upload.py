"""Uploads a file to an inbox of another node by tus 1.0, over connections that break.

    upload.py http://127.0.0.1:7480/v1/uploads/paris/files TOKEN photo.raw
    upload.py http://127.0.0.1:7480/v1/uploads/ID          TOKEN photo.raw     goes on with one

It tells how far it is, and at the end where the upload is. `pip install tuspy`.
"""

import os
import sys

from tusclient import client

url, token, path = sys.argv[1:]
tus = client.TusClient(url, headers={"Authorization": f"Bearer {token}"})
inbox = url.rsplit("/v1/uploads/", 1)[1].strip("/").split("/")
given = {"file_path": path, "chunk_size": 1 << 20, "metadata": {"filename": os.path.basename(path)}}
if len(inbox) == 1:
    given["url"] = url
uploader = tus.uploader(**given)
size, parts = uploader.get_file_size(), int(os.environ.get("ESTAFETTE_PARTS", 0))
if uploader.url is None:
    uploader.set_url(uploader.create_url())
while uploader.offset < size:
    uploader.upload_chunk()
    print(f"{uploader.offset} of {size}")
    parts -= 1
    if parts == 0:
        break
print(uploader.url)
