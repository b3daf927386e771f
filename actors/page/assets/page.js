// Draws what a node tells of itself. All text of others goes through textContent.
"use strict";

const MINUTES = 5;
const SAMPLES = MINUTES * 60;
const KEPT = { faults: 128, refused: 32, others: 64 }; // happenings, as the node keeps them
const WAITING = ["road", "source"]; // stages whose busy time is also that of waiting for others
const STALLED = 5000; // ms without a byte
const BUSY = 2000; // ms that an actor has one message
const RECENT = 300000; // ms that a fault is called recent
const LINGER = 20000; // ms that a transfer that has ended stays
const IN_GRAPH = 12;
const FAR = 300; // px between boxes

const by = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

let now = null; // the last snapshot
let heard = 0; // when the last one came, by our own clock
let lost = false;
let rates = { peers: new Map(), transfers: new Map(), stages: new Map() };
const happenings = new Map(); // number → happening
const restarted = new Map(); // stage → when one of its actors was last started anew
const ended = new Map(); // transfer id + direction → how, and until when it is shown
const known = new Map(); // transfers that were seen, by the same
let since = 0; // of the process that numbers belong to

// ── words ──────────────────────────────────────────────────────────────────────────────────────
function scaled(value, base, units) {
  let unit = 0;
  while (value >= base && unit < units.length - 1) { value /= base; unit += 1; }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${units[unit]}`;
}
const bytes = (value) => scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
const rate = (value) => scaled(value, 1000, ["B/s", "kB/s", "MB/s", "GB/s"]);
const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;
function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
const trip = (us) => (us < 1000 ? `${us} µs` : `${(us / 1000).toFixed(us < 10000 ? 1 : 0)} ms`);
const clock = (at) => new Date(at).toLocaleTimeString([], { hour12: false });
const percent = (share) => `${Math.round(share * 100)} %`;
const cut = (text, most) => ([...text].length > most ? `${[...text].slice(0, most - 1).join("")}…` : text);
const PHASES = {
  running: "running", finishing: "finishing", starting: "starting", offered: "offered",
  paused: "paused", interrupted: "link is down", waits_for_room: "waits for room",
  waits_for_link: "waits for a link",
};
const LINKS = { up: "linked", dialing: "can't be reached", awaited: "has to come", idle: "not linked" };

// What the node's clock says now: it is not ours, so it goes on from what was told last.
const nodeTime = () => (now ? now.at + (performance.now() - heard) : 0);

// ── elements ───────────────────────────────────────────────────────────────────────────────────
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function state(element, value) {
  if (element.dataset.state !== value) element.dataset.state = value;
}
function make(name, classes = "", text = "") {
  const element = document.createElement(name);
  if (classes) element.className = classes;
  if (text) element.textContent = text;
  return element;
}
// Has one child for each item, in their order, and changes only what differs.
function keyed(parent, items, key, create, update) {
  const there = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, at) => {
    const name = String(key(item));
    const child = there.get(name) || create(item);
    child.dataset.key = name;
    there.delete(name);
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] || null);
    update(child, item);
  });
  there.forEach((child) => child.remove());
}

// ── what is told ───────────────────────────────────────────────────────────────────────────────
function hear(snapshot) {
  if (since !== snapshot.node.since) {
    // Another process of the node: its numbers begin anew.
    since = snapshot.node.since;
    [happenings, restarted, ended, known].forEach((map) => map.clear());
    now = null;
  }
  if (now && snapshot.at > now.at) {
    measure(now, snapshot);
    for (const stage of snapshot.stages) {
      const was = now.stages.find((other) => other.name === stage.name);
      if (was && stage.restarts + stage.panics > was.restarts + was.panics) restarted.set(stage.name, snapshot.at);
    }
  }
  now = snapshot;
  heard = performance.now();
  const ids = new Set();
  for (const transfer of now.transfers) {
    const id = `${transfer.direction} ${transfer.id}`;
    ids.add(id);
    // What was tried in vain is tried again: it is one row.
    ended.delete(id);
    const last = known.get(id);
    const moved = !last || last.seen.bytes !== transfer.bytes || last.seen.phase !== transfer.phase;
    known.set(id, { seen: transfer, moved: moved ? now.at : last.moved });
  }
  if (now.answers) {
    for (const [id, last] of known) {
      if (ids.has(id) || now.more_transfers > 0) continue;
      known.delete(id);
      ended.set(id, { seen: last.seen, until: nodeTime() + LINGER });
    }
  }
}

// Smoothed over about a second.
function smooth(map, key, amount, ms) {
  const weight = Math.min(1, ms / 1000);
  const last = map.get(key) ?? 0;
  const value = last + ((amount * 1000) / ms - last) * weight;
  map.set(key, value < 1e-3 ? 0 : value);
}
function measure(earlier, later) {
  const ms = later.at - earlier.at;
  const grown = (map, list, old, key, fields) => {
    const olds = new Map(old.map((item) => [key(item), item]));
    for (const item of list) {
      const was = olds.get(key(item));
      for (const field of fields) {
        const more = was ? Math.max(0, item[field] - was[field]) : 0;
        smooth(map, `${key(item)} ${field}`, more, ms);
      }
    }
  };
  grown(rates.peers, later.links, earlier.links, (link) => link.peer, ["sent_bytes", "received_bytes"]);
  const id = (transfer) => `${transfer.direction} ${transfer.id}`;
  grown(rates.transfers, later.transfers, earlier.transfers, id, ["bytes"]);
  grown(rates.stages, later.stages, earlier.stages, (stage) => stage.name, ["busy_us", "bytes_in"]);
}
// Of what no snapshot tells any more, since nothing changes, the rates are none.
const isStale = () => performance.now() - heard > 1500;
const rateOf = (map, key) => (isStale() ? 0 : map.get(key) ?? 0);
// The share of one core that a stage works.
const busyOf = (stage) => rateOf(rates.stages, `${stage.name} busy_us`) / 1e6;

// Neither what strangers do nor what is good takes the place of a fault.
function shelfOf(told) {
  if (told.kind === "refused") return "refused";
  return told.severity === "fault" ? "faults" : "others";
}
function note(happening) {
  happenings.set(happening.number, happening);
  const shelf = shelfOf(happening);
  const like = [...happenings.values()].filter((told) => shelfOf(told) === shelf);
  if (like.length > KEPT[shelf]) happenings.delete(Math.min(...like.map((told) => told.number)));
}
function outcomeOf(id) {
  for (const told of [...happenings.values()].reverse()) {
    if (`${told.direction} ${told.transfer}` === id && ["delivered", "failed", "relayed", "deferred"].includes(told.kind)) {
      return told;
    }
  }
  return null;
}

// ── judgement: what is slow, what is broken ────────────────────────────────────────────────────
function busiest() {
  const works = now.stages.filter((stage) => !WAITING.includes(stage.name));
  const stages = works.map((stage) => ({ name: stage.name, busy: busyOf(stage) }));
  const sum = stages.reduce((all, stage) => all + stage.busy, 0);
  const top = stages.sort((a, b) => b.busy - a.busy)[0];
  return { sum, top, full: Boolean(top) && (top.busy > 0.85 || sum > 0.85 * now.node.workers) };
}
function boundBy(transfer) {
  const way = transfer.direction === "outgoing" ? now.room.outgoing : now.room.incoming;
  switch (transfer.phase) {
    case "waits_for_room": return `room here: ${way.running} of ${now.room.running_most} run`;
    case "waits_for_link": case "interrupted": return "the link";
    case "offered": return `${transfer.peer_name}'s answer`;
    case "paused": return "the pause";
    case "running": {
      const { top, full } = busiest();
      if (full) return `${top.name} here, ${percent(top.busy)} of a core`;
      if (transfer.direction === "incoming") return "link, sender or disk";
      // Each transfer has one source, and each worker writes to a link at a time.
      const source = now.stages.find((stage) => stage.name === "source");
      if (source && busyOf(source) > 0.8 * way.running) return "its source";
      const road = now.stages.find((stage) => stage.name === "road");
      if (road && busyOf(road) > 0.8 * Math.min(way.running, now.node.workers)) return "the link";
      return "link, receiver or source";
    }
    default: return "";
  }
}
function stalledFor(transfer) {
  const seen = known.get(`${transfer.direction} ${transfer.id}`);
  return seen && transfer.phase === "running" ? nodeTime() - seen.moved : 0;
}
function linkState(link) {
  if (link.state === "up") return "good";
  if (link.state === "dialing") return "bad";
  return link.state === "awaited" && link.transfers > 0 ? "warn" : "idle";
}
function actorState(actor) {
  if (!actor.alive) return "bad";
  return actor.busy_since !== null && nodeTime() - actor.busy_since > BUSY ? "warn" : "good";
}

function troubles() {
  const found = [];
  const bad = (text) => found.push(["bad", text]);
  const warn = (text) => found.push(["warn", text]);
  if (lost) bad("This page has lost the node: what is shown is old. It tries again.");
  const stuck = now.actors.filter((actor) => actorState(actor) === "warn");
  if (!now.answers) {
    bad(stuck.length > 0
      ? `The node does not answer: the actor ${stuck[0].name} blocks it.`
      : "The node does not answer: something blocks its thread, or it has stopped.");
  }
  if (now.spool?.failure) bad(`The spool takes nothing more: ${now.spool.failure}`);
  for (const link of now.links) {
    if (link.state !== "dialing" && linkState(link) !== "warn") continue;
    const work = link.transfers > 0 ? ` ${count(link.transfers, "transfer")} wait for it.` : "";
    const why = link.why ? `: ${link.why}` : "";
    (link.state === "dialing" ? bad : warn)(`${link.name} ${LINKS[link.state]}, for ${span(nodeTime() - link.since)}${why}.${work}`);
  }
  for (const actor of now.actors) {
    if (!actor.alive) bad(`The actor ${actor.name} is dead for ${span(nodeTime() - actor.since)}, ${count(actor.deaths, "death")} so far.`);
  }
  for (const actor of stuck) {
    warn(`The actor ${actor.name} is busy for ${span(nodeTime() - actor.busy_since)}; ${actor.waiting} wait.`);
  }
  for (const transfer of now.transfers) {
    const stalled = stalledFor(transfer);
    if (stalled > STALLED) warn(`${transfer.name} (${transfer.peer_name}) has not moved for ${span(stalled)}.`);
  }
  troublesOfRoutes().forEach(warn);
  const waiting = now.room.outgoing.waiting + now.room.incoming.waiting;
  if (waiting > 0) warn(`${count(waiting, "transfer waits", "transfers wait")} for room here.`);
  for (const stage of now.stages) {
    if (nodeTime() - (restarted.get(stage.name) ?? -Infinity) < RECENT) warn(`The stage ${stage.name} has died: ${count(stage.panics, "panic")}, ${count(stage.restarts, "restart")} so far.`);
  }
  const { top, full } = busiest();
  if (full) warn(`Slow by ${top.name}: it works ${percent(top.busy)} of a core.`);
  if (now.outbox?.dead.count > 0) warn(`${count(now.outbox.dead.count, "dead letter")} in the outbox: estafette outbox list says why.`);
  if (now.letters?.dead > 0) warn(`${count(now.letters.dead, "message")} to actors given up.`);
  const sent = now.outbox;
  if (sent && sent.folder_bytes > 0.9 * sent.folder_most) warn(`The spool's folder is nearly full: ${bytes(sent.folder_bytes)} of ${bytes(sent.folder_most)}.`);
  const faults = [...happenings.values()].filter((told) => told.severity === "fault" && nodeTime() - told.at < RECENT);
  const last = faults.sort((a, b) => a.number - b.number).at(-1);
  if (last) warn(`${count(faults.length, "fault")} in the last ${RECENT / 60000} minutes; the last: ${last.text}`);
  return found.sort((a, b) => (a[0] === b[0] ? 0 : a[0] === "bad" ? -1 : 1));
}
function drawVerdict() {
  const found = troubles();
  const worst = found.length === 0 ? "good" : found[0][0];
  state(by("verdict"), worst);
  const running = now.transfers.length + now.more_transfers;
  const calm = running > 0 ? `All is well; ${count(running, "transfer")} under way` : "All is well";
  set(by("verdict-title"), worst === "good" ? calm : worst === "warn" ? "Look at this" : "Something is broken");
  const shown = found.slice(0, 8);
  if (found.length > shown.length) shown.push(["warn", `and ${found.length - shown.length} more`]);
  keyed(by("troubles"), shown.map((trouble, at) => [at, ...trouble]), (item) => item[0], () => make("li"), (li, item) => {
    state(li, item[1]);
    set(li, item[2]);
  });
}

// ── the graph ──────────────────────────────────────────────────────────────────────────────────
function svg(name, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
}
const CHARACTER = 7.2;
function box(at, lines, kind, title) {
  const group = svg("g", { tabindex: "0", role: "img", "aria-label": title, transform: `translate(${at.x} ${at.y})` });
  group.dataset.state = kind;
  group.append(svg("title", {}, title));
  group.append(svg("rect", { class: "box", width: at.width, height: at.height, rx: 7 }));
  const most = Math.floor((at.width - 16) / CHARACTER);
  lines.forEach((line, row) => group.append(svg("text", {
    x: 10, y: 20 + row * 17, class: row === 0 ? "strong" : "small",
  }, cut(line, row === 0 ? most : Math.floor(most * 1.15)))));
  return group;
}
function peerLines(link) {
  const second = [LINKS[link.state]];
  if (link.rtt_us !== null) second.push(trip(link.rtt_us));
  if (link.transfers > 0) second.push(count(link.transfers, "transfer"));
  return [link.name, second.join(" · ")];
}
function actorLines(actor) {
  const second = [actor.alive ? (actor.in_hand > 0 ? "busy" : "idle") : "dead"];
  if (actor.waiting > 0) second.push(`${actor.waiting} wait`);
  if (actor.busy_since !== null) second.push(span(nodeTime() - actor.busy_since));
  if (actor.deaths > 0) second.push(count(actor.deaths, "death"));
  return [actor.name, second.join(" · ")];
}
function edge(path, kind, flow, label, place) {
  const parts = [];
  const line = svg("path", { d: path, class: `edge${flow ? ` flows${flow < 0 ? " back" : ""}` : ""}`, "stroke-width": flow ? 2.5 : 1.5 });
  line.dataset.state = kind;
  parts.push(line);
  label.forEach((text, row) => text && parts.push(svg("text", { ...place, y: place.y + row * 14, class: "small" }, text)));
  return parts;
}
function edgeOf(link) {
  const out = rateOf(rates.peers, `${link.peer} sent_bytes`);
  const back = rateOf(rates.peers, `${link.peer} received_bytes`);
  // What heartbeats take is no flow.
  const flow = Math.max(out, back) < 500 ? 0 : out >= back ? 1 : -1;
  return { flow, label: [out >= 500 ? `→ ${rate(out)}` : "", back >= 500 ? `← ${rate(back)}` : ""] };
}
function drawGraph() {
  const graph = by("graph");
  const width = by("graph-box").clientWidth;
  if (width === 0) return;
  const links = now.links.slice(0, IN_GRAPH);
  const actors = now.actors.slice(0, IN_GRAPH);
  const stages = now.stages.filter((stage) => stage.chunks > 0 || stage.restarts > 0 || stage.panics > 0);
  const focus = graph.contains(document.activeElement) ? document.activeElement.dataset.of : null;
  const parts = [];
  // Three columns need room for what stands at their edges.
  const narrow = width < (now.actors.length > 0 ? 860 : 560);
  const tall = 46;
  const gap = 14;
  const node = { height: 52 + stages.length * 20, width: narrow ? width - 4 : Math.min(300, width * 0.32), x: 2, y: 2 };
  const column = (list) => list.length * (tall + gap) - gap;
  let height;
  if (narrow) {
    height = node.y + node.height + (links.length + actors.length) * (tall + gap + 16) + 4;
  } else {
    height = Math.max(node.height, column(links), column(actors), tall) + 4;
    node.x = actors.length > 0 ? (width - node.width) / 2 : 2;
    node.y = (height - node.height) / 2;
  }
  const put = (key, group) => { group.dataset.of = key; parts.push(group); };
  const boxes = [];
  const place = (list, side) => list.forEach((item, row) => {
    const wide = side === "links" && actors.length === 0 ? Math.min(300, width * 0.34) : Math.min(230, width * 0.24);
    const y = (height - column(list)) / 2 + row * (tall + gap);
    const x = side === "links"
      ? Math.min(width - wide - 2, node.x + node.width + FAR)
      : Math.max(2, node.x - FAR - wide);
    boxes.push({ item, side, x, y, width: wide, height: tall });
  });
  if (narrow) {
    [...links.map((item) => [item, "links"]), ...actors.map((item) => [item, "actors"])].forEach(([item, side], row) => {
      boxes.push({ item, side, x: 34, y: node.y + node.height + gap + row * (tall + gap + 16) + 16, width: width - 38, height: tall });
    });
  } else {
    place(links, "links");
    place(actors, "actors");
  }
  for (const at of boxes) {
    const isLink = at.side === "links";
    const kind = isLink ? linkState(at.item) : actorState(at.item);
    const { flow, label } = isLink ? edgeOf(at.item) : { flow: at.item.in_hand > 0 ? -1 : 0, label: [at.item.waiting > 0 ? `${at.item.waiting} wait` : ""] };
    const middle = at.y + at.height / 2;
    let path;
    let where;
    if (narrow) {
      path = `M 16 ${node.y + node.height} V ${middle} H ${at.x}`;
      where = { x: at.x + 2, y: at.y - 5 };
      at.label = [label.filter(Boolean).join("   ")];
    } else {
      const [from, to] = isLink ? [node.x + node.width, at.x] : [node.x, at.x + at.width];
      const start = node.y + Math.min(node.height - 10, Math.max(10, middle - node.y));
      const half = (from + to) / 2;
      path = `M ${from} ${start} C ${half} ${start} ${half} ${middle} ${to} ${middle}`;
      where = { x: isLink ? to - 8 : to + 8, y: middle - 5, "text-anchor": isLink ? "end" : "start" };
    }
    const lines = narrow ? at.label : label[0] && label[1] ? [label[0], "", label[1]].slice(0, 1).concat(["", ""]) : [label[0] || label[1]];
    parts.push(...edge(path, kind, flow, lines, where));
    if (!narrow && label[0] && label[1]) {
      parts.push(svg("text", { ...where, y: middle + 15, class: "small" }, label[1]));
    }
  }
  for (const at of boxes) {
    const isLink = at.side === "links";
    const lines = isLink ? peerLines(at.item) : actorLines(at.item);
    const kind = isLink ? linkState(at.item) : actorState(at.item);
    const more = isLink ? [at.item.address, at.item.suite, at.item.why, at.item.peer] : ["an actor of this node"];
    put(`${at.side} ${isLink ? at.item.peer : at.item.name}`, box(at, lines, kind, [...lines, ...more].filter(Boolean).join("\n")));
  }
  const self = box(node, [now.node.name, "this node"], now.answers && !lost ? "good" : "bad", `${now.node.name}, this node`);
  stages.forEach((stage, row) => {
    const y = 48 + row * 20;
    const busy = Math.min(1, busyOf(stage) / Math.max(1, now.node.workers));
    const track = node.width - 170;
    const marks = stage.restarts + stage.panics > 0 ? ` ↻${stage.restarts}` : "";
    const line = svg("g");
    const also = WAITING.includes(stage.name) ? " (its time is also that of waiting)" : "";
    line.append(svg("title", {}, `${stage.name}${also}: ${count(stage.chunks, "chunk")}, ${bytes(stage.bytes_in)} in, ${bytes(stage.bytes_out)} out, at most ${stage.high_water} waited, ${count(stage.restarts, "restart")}`));
    line.append(svg("text", { x: 10, y: y + 10, class: "small" }, cut(stage.name + marks, 17)));
    line.append(svg("rect", { class: "track", x: 118, y: y + 2, width: Math.max(0, track), height: 9, rx: 4 }));
    const fill = svg("rect", { class: "fill", x: 118, y: y + 2, width: Math.max(0, track * busy), height: 9, rx: 4 });
    const waits = WAITING.includes(stage.name);
    fill.dataset.state = waits ? "idle" : busyOf(stage) > 0.85 ? "warn" : "good";
    line.append(fill);
    line.append(svg("text", { x: node.width - 10, y: y + 10, class: "small", "text-anchor": "end" }, percent(busyOf(stage))));
    self.append(line);
  });
  put("node", self);
  graph.setAttribute("height", height);
  graph.setAttribute("viewBox", `0 0 ${width} ${height}`);
  graph.replaceChildren(...parts);
  if (focus) [...graph.children].find((child) => child.dataset.of === focus)?.focus();
  const more = [];
  const left = now.links.length - links.length + now.more_links;
  const leftActors = now.actors.length - actors.length + now.more_actors;
  if (left > 0) more.push(`${count(left, "more peer")}`);
  if (leftActors > 0) more.push(`${count(leftActors, "more actor")}`);
  by("graph-more").hidden = more.length === 0;
  set(by("graph-more"), more.join(", "));
}

// ── transfers ──────────────────────────────────────────────────────────────────────────────────
function drawTransfers() {
  for (const [id, end] of ended) {
    if (end.until < nodeTime()) ended.delete(id);
  }
  const running = now.transfers.map((seen) => ({ id: `${seen.direction} ${seen.id}`, seen }));
  const over = [...ended].map(([id, { seen }]) => ({ id, seen, end: outcomeOf(id), over: true })).reverse();
  keyed(by("transfer-rows"), [...running, ...over], (row) => row.id, newRow, (row, item) => {
    const { seen, end } = item;
    const [content, peer, phase, progress, speed, bound] = row.children;
    set(content.children[0], seen.direction === "outgoing" ? "→ " : "← ");
    content.children[0].title = seen.direction;
    set(content.children[1], seen.name);
    set(peer, seen.peer_name);
    const delivered = end?.kind === "delivered" || end?.kind === "relayed";
    const stalled = !item.over && stalledFor(seen) > STALLED;
    const calm = ["running", "finishing", "starting"].includes(seen.phase);
    state(row, item.over ? (end ? (delivered ? "good" : "bad") : "") : stalled || !calm ? "warn" : "good");
    set(phase, item.over ? (end ? end.kind : "over") : stalled ? "stalled" : PHASES[seen.phase] || seen.phase);
    // What is announced is a hint: there may be more.
    const total = seen.total !== null && seen.bytes > seen.total ? null : seen.total;
    const done = delivered && total !== null ? total : seen.bytes;
    const bar = progress.children[0];
    if (total === null && !item.over) bar.removeAttribute("value");
    else bar.value = total && !delivered ? done / total : delivered ? 1 : 0;
    const share = total ? ` · ${percent(done / total)}` : "";
    const speedNow = item.over ? 0 : rateOf(rates.transfers, `${item.id} bytes`);
    const left = speedNow > 1000 && total ? ` · ${span(((total - done) / speedNow) * 1000)} left` : "";
    set(progress.children[1], `${bytes(done)}${total !== null ? ` of ${bytes(total)}` : ""}${share}${left}${item.over ? "" : timeOf(seen)}`);
    set(speed, item.over ? "" : rate(speedNow));
    set(bound, item.over ? "" : boundBy(seen));
  });
  by("no-transfers").hidden = running.length + over.length > 0;
  by("transfers").querySelector("table").hidden = running.length + over.length === 0;
  set(by("transfers-count"), running.length > 0 ? String(running.length + now.more_transfers) : "");
  by("transfers-more").hidden = now.more_transfers === 0;
  set(by("transfers-more"), `and ${now.more_transfers} more`);
}
function newRow() {
  const row = make("tr");
  const content = make("td", "content");
  content.append(make("span", "way"), make("span"));
  const progress = make("td", "progress");
  const bar = make("progress");
  bar.max = 1;
  progress.append(bar, make("span", "small"));
  row.append(content, make("td"), make("td", "phase"), progress, make("td", "number"), make("td", "bound small"));
  return row;
}

// ── charts ─────────────────────────────────────────────────────────────────────────────────────
const CHARTS = [
  { title: "bytes", names: ["sent", "received"], text: rate, least: 1e5 },
  { title: "busiest stage, of a core", names: ["busy"], text: percent, least: 1 },
  { title: "slowest round trip", names: ["ping"], text: trip, least: 1000 },
];
const series = CHARTS.map((chart) => chart.names.map(() => []));
let sampled = null;
function sample() {
  if (!now) return;
  const at = performance.now();
  const { sent_bytes: sent, received_bytes: received } = now.totals;
  const last = sampled;
  sampled = { at, sent, received, since };
  if (!last || last.since !== since) return;
  const seconds = (at - last.at) / 1000;
  const top = busiest().top;
  const trips = now.links.map((link) => link.rtt_us).filter((us) => us !== null);
  const values = lost
    ? [[null, null], [null], [null]]
    : [
        [(sent - last.sent) / seconds, (received - last.received) / seconds],
        [top ? top.busy : 0],
        [trips.length > 0 ? Math.max(...trips) : null],
      ];
  values.forEach((chart, at) => chart.forEach((value, line) => {
    series[at][line].push(value);
    if (series[at][line].length > SAMPLES) series[at][line].shift();
  }));
}
function newChart(chart) {
  const figure = make("figure");
  const caption = make("figcaption");
  caption.append(make("span", "", chart.title));
  chart.names.forEach((name, line) => {
    const key = make("span", `key${line}`);
    key.append(chart.names.length > 1 ? `${name} ` : "", make("b"));
    caption.append(key);
  });
  figure.append(caption, svg("svg", { role: "img" }));
  return figure;
}
function drawCharts() {
  keyed(by("charts"), CHARTS.map((chart, at) => ({ chart, at })), (item) => item.at, (item) => newChart(item.chart), (figure, { chart, at }) => {
    const lines = series[at];
    const picture = figure.children[1];
    const width = picture.clientWidth || 300;
    const height = picture.clientHeight || 110;
    const highest = Math.max(chart.least, ...lines.flat().filter((value) => value !== null));
    const parts = [
      svg("line", { class: "axis", x1: 0, x2: width, y1: height - 14, y2: height - 14 }),
      svg("line", { class: "axis", x1: 0, x2: width, y1: 14, y2: 14, "stroke-dasharray": "2 4" }),
      svg("text", { x: 0, y: 10 }, chart.text(highest)),
      svg("text", { x: 0, y: height - 3 }, `${MINUTES} min ago`),
      svg("text", { x: width, y: height - 3, "text-anchor": "end" }, "now"),
    ];
    const said = [];
    lines.forEach((values, line) => {
      let path = "";
      let isOpen = false;
      values.forEach((value, index) => {
        if (value === null) { isOpen = false; return; }
        const x = width - ((values.length - 1 - index) * width) / (SAMPLES - 1);
        const y = height - 14 - (value / highest) * (height - 28);
        path += `${isOpen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
        isOpen = true;
      });
      parts.push(svg("path", { class: `line${line}`, d: path }));
      const last = values.at(-1);
      const text = last === undefined || last === null ? "–" : chart.text(last);
      set(figure.children[0].children[line + 1].querySelector("b"), text);
      said.push(`${chart.names[line]} ${text}`);
    });
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("aria-label", `${chart.title}: ${said.join(", ")} now, at most ${chart.text(highest)}`);
    picture.replaceChildren(...parts);
  });
}

// ── what happened, numbers, the head ───────────────────────────────────────────────────────────
const SEVERITIES = { good: ["good", "✓"], note: ["note", "•"], fault: ["bad", "✖"] };
function drawHappenings() {
  const names = new Map(now.links.map((link) => [link.peer, link.name]));
  const list = [...happenings.values()].sort((a, b) => b.number - a.number);
  keyed(by("happenings"), list, (told) => told.number, () => {
    const item = make("li");
    item.append(make("span", "mark"), make("time"), make("span"));
    return item;
  }, (item, told) => {
    const [kind, mark] = SEVERITIES[told.severity] || SEVERITIES.note;
    state(item, kind);
    set(item.children[0], mark);
    item.children[0].title = told.severity;
    set(item.children[1], clock(told.at));
    const name = told.peer === null ? "" : names.get(told.peer) || told.peer.slice(0, 8);
    const way = told.direction === "outgoing" ? "→ " : told.direction === "incoming" ? "← " : "";
    const said = told.kind === "failed" || told.kind === "deferred" ? `${told.kind}: ` : "";
    // By a relay a delivery goes as a file that has its id for a name.
    const text = told.text.replace(/\b([0-9a-f]{16})[0-9a-f]{32}(-\w+)?\.package\b/g, "package $1");
    set(item.children[2], `${way}${name && !text.includes(name) ? `${name}: ` : ""}${said}${text}`);
  });
  by("no-happenings").hidden = list.length > 0;
  const faults = list.filter((told) => told.severity === "fault").length;
  set(by("fault-count"), faults > 0 ? String(faults) : "");
}
function drawNumbers() {
  const { totals, outbox, relay, letters, room } = now;
  const amount = (of) => `${of.count}${of.bytes > 0 ? ` · ${bytes(of.bytes)}` : ""}`;
  const rows = [
    ["delivered from here", `${totals.delivered_out} · ${bytes(totals.delivered_out_bytes)}`],
    ["delivered to here", `${totals.delivered_in} · ${bytes(totals.delivered_in_bytes)}`],
    ["failed", `${totals.failed_out + totals.failed_in}`],
    ["tries that failed for now", `${totals.deferred}`],
    ["connections refused", `${totals.refused}`],
    ["sent · received", `${bytes(totals.sent_bytes)} · ${bytes(totals.received_bytes)}`],
    ["running out · in", `${room.outgoing.running} · ${room.incoming.running} of ${room.running_most}`],
    ["wait for room out · in", `${room.outgoing.waiting} · ${room.incoming.waiting}`, room.outgoing.waiting + room.incoming.waiting > 0 ? "warn" : ""],
  ];
  if (outbox) {
    rows.push(["outbox: to be delivered", amount(outbox.stored)]);
    if (outbox.oldest !== null) rows.push(["the oldest of these", span(nodeTime() - outbox.oldest)]);
    if (outbox.relayed.count > 0) rows.push(["with a relay", amount(outbox.relayed)]);
    rows.push(["dead", amount(outbox.dead), outbox.dead.count > 0 ? "warn" : ""]);
    rows.push(["spool's folder", `${bytes(outbox.folder_bytes)} of ${bytes(outbox.folder_most)}`]);
  }
  if (relay) rows.push(["kept for others", amount(relay.kept)]);
  if (letters) {
    rows.push(["letters out · waiting here", `${letters.outgoing} · ${letters.incoming}`]);
    if (letters.dead > 0) rows.push(["letters given up", `${letters.dead}`, "warn"]);
  }
  for (const door of now.doors) {
    rows.push([`door ${door.name}`, `${door.calls} calls, ${door.open} open · ${bytes(door.received_bytes)} in, ${bytes(door.sent_bytes)} out`]);
    if (door.refused > 0) rows.push([`refused by door ${door.name}`, `${door.refused}`]);
  }
  if (now.spool) rows.push(["spool", now.spool.failure ? "failed" : "works", now.spool.failure ? "bad" : ""]);
  keyed(by("numbers"), rows.flatMap(([name, value, kind = ""]) => [{ key: `t${name}`, tag: "dt", text: name, kind: "" }, { key: `d${name}`, tag: "dd", text: value, kind }]), (cell) => cell.key, (cell) => make(cell.tag), (element, cell) => {
    set(element, cell.text);
    state(element, cell.kind);
  });
}
function drawHead() {
  set(by("name"), now.node.name);
  set(by("id"), now.node.id.slice(0, 8));
  by("id").title = now.node.id;
  const where = now.node.addresses.length > 0 ? ` · listens at ${now.node.addresses.slice(0, 3).join(", ")}` : "";
  set(by("about"), `up ${span(nodeTime() - now.node.since)} · version ${now.node.version}${where}`);
  document.title = `${by("verdict").dataset.state === "good" ? "" : "⚠ "}${now.node.name} · estafette`;
  state(by("live"), lost ? "lost" : "live");
  set(by("live"), lost ? `lost for ${span(performance.now() - heard)}` : "live");
}

function draw() {
  if (!now) return;
  drawVerdict();
  drawTopology();
  drawGraph();
  drawTransfers();
  drawHappenings();
  drawNumbers();
  drawHead();
}
let asked = false;
function drawSoon() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

// ── the stream ─────────────────────────────────────────────────────────────────────────────────
function listen() {
  const stream = new EventSource("api/v1/events");
  const alive = () => { lost = false; };
  stream.addEventListener("snapshot", (event) => { alive(); hear(JSON.parse(event.data)); drawSoon(); });
  stream.addEventListener("happening", (event) => { note(JSON.parse(event.data)); drawSoon(); });
  stream.addEventListener("open", alive);
  stream.addEventListener("error", () => {
    lost = true;
    if (now) drawSoon();
    else {
      state(by("live"), "lost");
      set(by("live"), "no answer");
      set(by("verdict-title"), "The node gives no stream: it has stopped, or too many pages are open.");
    }
    // The browser comes back by itself, unless it was refused.
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  });
}
document.querySelectorAll("button[data-show]").forEach((button) => button.addEventListener("click", () => {
  by("happenings").dataset.show = button.dataset.show;
  document.querySelectorAll("button[data-show]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
}));
addEventListener("resize", () => { drawCharts(); drawSoon(); });
setInterval(() => { sample(); drawCharts(); drawSoon(); lookAtTopology(); }, 1000);
listen();
lookAtTopology();
