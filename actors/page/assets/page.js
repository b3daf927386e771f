"use strict";
const stream = new EventSource("api/v1/events");
stream.addEventListener("snapshot", (event) => {
  document.getElementById("all").textContent = JSON.stringify(JSON.parse(event.data), null, 2);
});
