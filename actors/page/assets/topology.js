// What the node is a part of: the drawing of its topology, with what goes by its routes at this
// moment, and what was calculated beside what it took. Uses what page.js has.
"use strict";

const BOUNDS = { sender: "the sender's line", receiver: "the receiver's line", rate: "its rate", window: "the window" };
const topology = {
  told: null, // what the node told last, and when by its own clock
  at: 0,
  drawing: null, // the number of the drawing that is shown
  rates: new Map(), // route and target → bytes in a second
  isAlone: false, // it is run by itself
};

const seconds = (value) => (value < 0.0995 ? `${Math.max(1, Math.round(value * 1000))} ms` : value < 100 ? `${value.toFixed(1)} s` : span(value * 1000));
const wayOf = (route) => `${route.route} ${route.to}`;
const speedOf = (route) => (performance.now() - topology.at > 3000 ? 0 : topology.rates.get(wayOf(route)) ?? 0);

async function lookAtTopology() {
  if (topology.isAlone || document.hidden || lost) return;
  let told;
  try {
    const answer = await fetch("api/v1/topology");
    if (!answer.ok) return;
    told = await answer.json();
    topology.isAlone = told === null;
    if (topology.isAlone) return;
  } catch { return; } // the stream says that the node is gone
  const at = performance.now();
  const before = new Map((topology.told?.routes ?? []).map((route) => [wayOf(route), route]));
  for (const route of told.routes) {
    const was = before.get(wayOf(route));
    // Those of another process of the node begin anew.
    const more = was && route.looked && was.looked ? Math.max(0, route.moved - was.moved) : 0;
    smooth(topology.rates, wayOf(route), more, Math.max(1, at - topology.at));
  }
  [topology.told, topology.at] = [told, at];
  if (topology.drawing !== told.drawing) await fetchDrawing(told.drawing);
  drawSoon();
}
async function fetchDrawing(number) {
  if (!document.querySelector("link[href='topology.css']")) {
    const style = make("link");
    [style.rel, style.href] = ["stylesheet", "topology.css"];
    document.head.append(style);
  }
  try {
    const answer = await fetch("topology.svg");
    const text = answer.ok ? await answer.text() : "";
    // What is too large to be drawn has its table all the same.
    const picture = text && new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    // One that could not be read if it were made to fit has its size.
    picture && picture.classList.toggle("large", picture.getAttribute("width") > 1400 || picture.getAttribute("height") > 1100);
    by("topology-box").replaceChildren(...(picture ? [document.importNode(picture, true)] : []));
    by("topology-box").hidden = !picture;
    topology.drawing = number;
  } catch { /* it is asked for again */ }
}

function routeState(route) {
  if (!route.looked) return ["idle", "elsewhere"];
  if (route.failure !== null) return route.failed > 0 ? ["bad", "given up"] : ["warn", "tries again"];
  const running = route.running.length + route.more_running;
  if (running > 0) return ["good", `${running} under way`];
  const made = route.delivered + route.relayed;
  return made > 0 ? ["good", "delivered"] : ["idle", "nothing yet"];
}
function nodeState(node) {
  if (node.state === "here") return now.answers && !lost ? "good" : "bad";
  if (node.state === "seen") return node.seen?.answers ? "good" : "bad";
  if (node.state === "silent") return "bad";
  const link = now.links.find((other) => other.name === node.name);
  return link ? linkState(link) : "idle";
}
function drawTopology() {
  const told = topology.told;
  by("topology").hidden = told === null;
  if (told === null) return;
  const worst = (one, other) => (["bad", "warn", "good", "idle"].indexOf(one) < ["bad", "warn", "good", "idle"].indexOf(other) ? one : other);
  const parts = new Map(told.nodes.map((node) => [node.part, nodeState(node)]));
  const edges = new Map(); // route and end → state, bytes in a second
  for (const route of told.routes) {
    const [kind] = routeState(route);
    parts.set(route.part, worst(parts.get(route.part) ?? "idle", kind));
    const speed = speedOf(route);
    for (const end of [route.part, ...(route.via_part ? [route.via_part] : [route.to_part])]) {
      const edge = edges.get(`${route.route} ${end}`) ?? { kind: "idle", speed: 0 };
      edges.set(`${route.route} ${end}`, { kind: worst(edge.kind, kind), speed: edge.speed + speed });
    }
  }
  for (const element of by("topology-box").querySelectorAll("[data-id]")) state(element, parts.get(element.dataset.id) ?? "");
  for (const element of by("topology-box").querySelectorAll("[data-route]")) {
    const { kind, speed } = edges.get(`${element.dataset.route} ${element.dataset.to}`) ?? { kind: "", speed: 0 };
    state(element, kind);
    const flows = speed >= 500;
    element.classList.toggle("flows", flows);
    const words = element.querySelector(".words");
    if (!words) continue;
    words.dataset.words ??= words.textContent;
    set(words, flows ? `${words.dataset.words} · ${rate(speed)}` : words.dataset.words);
  }
  drawRoutes(told.routes);
  drawNodes(told.nodes.filter((node) => node.state === "seen" || node.state === "silent"));
}
// Other nodes, by the sealed link: those that let this one observe them.
function drawNodes(nodes) {
  by("nodes").hidden = nodes.length === 0;
  keyed(by("node-rows"), nodes.slice(0, 100), (node) => node.name, () => {
    const row = make("tr");
    row.append(make("th", "content"), make("td", "phase"), make("td", "number from"), make("td", "number to"), make("td", "number going"), make("td", "number held"), make("td", "bound why small"));
    row.firstChild.scope = "row";
    return row;
  }, (row, node) => {
    const [name, phase, from, to, going, held, fault] = row.children;
    const { seen } = node;
    const dead = seen?.outbox?.dead?.count ?? 0;
    const recent = seen?.fault && seen.at - seen.fault.at < RECENT ? seen.fault : null;
    state(row, !seen || !seen.answers ? "bad" : dead > 0 || recent ? "warn" : "good");
    set(name, node.name);
    set(phase, !seen ? "not seen" : seen.answers ? `up ${span(seen.at - seen.since)}` : "does not answer");
    set(from, seen ? `${seen.totals?.delivered_out ?? 0} · ${bytes(seen.totals?.delivered_out_bytes ?? 0)}` : "");
    set(to, seen ? `${seen.totals?.delivered_in ?? 0} · ${bytes(seen.totals?.delivered_in_bytes ?? 0)}` : "");
    set(going, seen ? String(seen.transfers) : "");
    set(held, seen?.outbox ? `${seen.outbox.stored?.count ?? 0}${dead > 0 ? ` · ${dead} dead` : ""}` : "");
    set(fault, node.why ?? recent?.text ?? "");
  });
}
function drawRoutes(routes) {
  const rank = (route) => ["bad", "warn", "good", "idle"].indexOf(routeState(route)[0]);
  const list = [...routes].sort((a, b) => rank(a) - rank(b) || speedOf(b) - speedOf(a)).slice(0, 100);
  keyed(by("route-rows"), list, wayOf, () => {
    const row = make("tr");
    row.append(make("th", "content"), make("td", "phase"), make("td", "number made"), make("td", "number"), make("td", "number took"), make("td", "bound why small"));
    row.firstChild.scope = "row";
    return row;
  }, (row, route) => {
    const [name, phase, made, speed, time, bound] = row.children;
    const [kind, words] = routeState(route);
    state(row, kind);
    set(name, `${route.route} → ${route.to}`);
    set(phase, words);
    row.title = route.failure ?? "";
    set(made, route.looked ? `${route.delivered} · ${bytes(route.bytes)}` : "–");
    set(speed, route.looked ? rate(speedOf(route)) : "–");
    const { last } = route;
    set(time, last ? `${seconds(last.seconds)} / ${last.predicted === null ? "–" : seconds(last.predicted)}` : "–");
    const limit = last?.bound_by ?? route.running[0]?.bound_by;
    set(bound, route.failure ?? (limit ? BOUNDS[limit] : ""));
    bound.classList.toggle("limit", !route.failure && Boolean(limit));
  });
  by("routes-more").hidden = routes.length <= list.length;
  set(by("routes-more"), `and ${routes.length - list.length} more`);
}
// What was calculated of a transfer beside the time it has taken so far.
function timeOf(transfer) {
  for (const route of topology.told?.routes ?? []) {
    const running = route.running.find((one) => one.transfer === transfer.id);
    if (running?.predicted) return ` · ${seconds(Math.max(0, nodeTime() - running.since) / 1000)} of ${seconds(running.predicted)} calculated`;
  }
  return "";
}
function troublesOfRoutes() {
  const silent = (topology.told?.nodes ?? []).filter((node) => node.state === "silent");
  const failing = (topology.told?.routes ?? []).filter((route) => route.failure !== null);
  return silent.map((node) => `${node.name} can't be seen: ${node.why}`).concat(failing.map((route) => `The route ${route.route} to ${route.to} ${route.failed > 0 ? "has given up" : "tries again"}: ${route.failure}`));
}
document.addEventListener("visibilitychange", lookAtTopology);
