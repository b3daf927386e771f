// Uploads a file to an inbox of another node by tus 1.0, and goes on by itself where a connection
// broke.
//
//   npm install
//   node upload.js http://127.0.0.1:7480/v1/uploads/paris/files TOKEN photo.raw
import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";
import { Upload } from "tus-js-client";

const [endpoint, token, path] = process.argv.slice(2);
const upload = new Upload(createReadStream(path), {
  endpoint,
  headers: { Authorization: `Bearer ${token}` },
  metadata: { filename: basename(path) },
  uploadSize: statSync(path).size,
  retryDelays: [0, 100, 500, 1000, 2000, 5000],
  chunkSize: 8 << 20,
  onShouldRetry: (error) => {
    console.error(`goes on after: ${error.message.split("\n")[0].slice(0, 100)}`);
    return true;
  },
  onError: (error) => {
    console.error(String(error));
    process.exitCode = 1;
  },
  onSuccess: () => console.log(upload.url),
});
upload.start();
