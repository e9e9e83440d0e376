// Search: units by number, by who was late or lost, by what notes say. Every word must be found.

const SHOWN = 60; // lines listed; all that is found can be walked through
const found = { query: "", items: [], at: -1 };

// Things that can be found: {unit, row, text, words}, in order of unit; a node's name finds its longest calls besides.
function search(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const number = /^(?:unit\s*)?#?(\d+)$/.exec(query.trim().toLowerCase());
  if (number) return unitItem(Number(number[1]));
  if (!words.length) return [];
  if (words.join() === "worst") return worstItems();
  const odd = oddItems().filter((item) => words.every((word) => item.words.includes(word)));
  const known = new Set(odd.map(({ unit, row }) => `${row?.index} ${unit}`));
  const longest = longestItems(words).filter(({ unit, row }) => !known.has(`${row.index} ${unit}`));
  return [...odd.sort((a, b) => a.unit - b.unit), ...longest];
}

function unitItem(unit) {
  if (unit < run.first || unit >= run.units) return [];
  const latency = run.sides.map((side) => side.curves[0].values[unit]).map((value) => (isNumber(value) ? `${ms(value)} ms` : "no answer"));
  return [{ unit, row: null, text: `unit ${unit}: ${latency.join(" | ")}` }];
}

const item = (unit, row, side, text) => ({ unit, row, text: run.isPair ? `${side.letter} ${text}` : text, words: `${text} ${side.letter} ${row?.process ?? ""} ${row?.type ?? ""}`.toLowerCase() });

function oddItems() {
  const items = [];
  for (const side of run.sides) {
    for (const unit of side.misses) {
      const culprits = (side.blamed.get(unit) ?? []).map((culprit) => culprit.text);
      items.push(item(unit, null, side, `✕ unit ${unit} missed: ${culprits.join("; ") || side.lost.get(unit)}`));
    }
    for (const row of side.rows)
      for (let i = 0; i < row.bars.n; i++) if (isOdd(row, i) || row.bars.level[i]) items.push(oddItem(side, row, i));
    for (const [at, process, kind, text] of side.notes) items.push(item(unitAt(at), null, side, `◆ ${kind} in ${process}: ${text}`));
    for (const [, unit, generation, streams] of side.fences)
      items.push(item(unit, null, side, `fence from unit ${unit}, generation ${generation}: ${streams.join(", ")}`));
  }
  return items;
}

function oddItem(side, row, i) {
  const [units, ...more] = said(row, i);
  return item(row.bars.last[i], row, side, `${row.name}: ${units}, ${more.join(", ")}, computed ${ms(row.bars.end[i] - row.bars.start[i])} ms`);
}

// What was going on at a time: the last unit released, within the run.
const unitAt = (time) => Math.min(Math.max(Math.floor(time / run.period) - 1, run.first), Math.max(run.units - 1, run.first));

function longestItems(words) {
  const rows = run.rows.filter((row) => words.every((word) => `${row.name} ${row.side.letter} ${row.process} ${row.lane} ${row.type}`.toLowerCase().includes(word)));
  return rows.flatMap((row) => {
    const order = Array.from({ length: row.bars.n }, (_, i) => i).sort((a, b) => row.bars.end[b] - row.bars.start[b] - row.bars.end[a] + row.bars.start[a]);
    return order.slice(0, Math.ceil(20 / rows.length)).map((i) =>
      item(row.bars.last[i], row, row.side, `${row.name}: ${said(row, i)[0]}, computed ${ms(row.bars.end[i] - row.bars.start[i])} ms`));
  });
}

function worstItems() {
  const all = run.sides.flatMap((side) => side.curves[0].values.map((value, unit) => ({ side, unit, value })).filter(({ value }) => isNumber(value)));
  return all.sort((a, b) => b.value - a.value).slice(0, 20)
    .map(({ side, unit, value }) => item(unit, null, side, `unit ${unit}: answer after ${ms(value)} ms`));
}

function find(query) {
  Object.assign(found, { query: query.trim(), items: search(query), at: -1 });
  fillFound();
}

function fillFound() {
  const { items, query, at } = found;
  const list = byId("found");
  list.hidden = !query;
  byId("search").setAttribute("aria-expanded", String(!list.hidden));
  const lines = items.slice(0, SHOWN).map(({ text }, n) =>
    el("li", { role: "option", id: `found-${n}`, "aria-selected": String(n === at), onclick: () => { choose(n); list.hidden = true; } }, text));
  const rest = items.length > SHOWN ? el("li", { class: "soft" }, `and ${items.length - SHOWN} more: n and p walk through all`) : null;
  const none = items.length ? null : el("li", { class: "soft" }, `nothing found for “${query}” (nodes: ${[...new Set(run.rows.map((row) => row.name))].join(", ")}; units ${run.first} to ${run.units - 1})`);
  list.replaceChildren(...[...lines, rest, none].filter(Boolean));
  list.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  fillCount();
}

// Go to the n-th thing found.
function choose(n) {
  if (!found.items.length) return;
  found.at = (n + found.items.length) % found.items.length;
  const { unit, row } = found.items[found.at];
  view.row = row;
  toUnit(unit);
  fillFound();
}

function forget() {
  byId("search").value = "";
  view.row = null;
  find("");
}

// Between the arrows: what they walk through.
function fillCount() {
  const { items, query, at } = found;
  const misses = run.misses.length === 1 ? "1 miss" : `${run.misses.length || "no"} misses`;
  byId("miss-count").textContent = query ? `${at + 1 || "–"} of ${items.length} found` : misses;
  const none = query ? !items.length : !run.misses.length;
  for (const id of ["previous-miss", "next-miss"]) byId(id).disabled = none;
}

function bindSearch() {
  const [input, list] = [byId("search"), byId("found")];
  input.addEventListener("input", () => find(input.value));
  input.addEventListener("focus", () => { if (found.query) list.hidden = false; });
  input.addEventListener("keydown", (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) choose(found.at < 0 && move < 0 ? -1 : found.at + move);
    if (event.key === "Escape") {
      forget();
      input.blur();
    }
    if (move || event.key === "Escape") event.preventDefault();
  });
  byId("jump").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!found.items.length) return;
    if (found.at < 0) choose(0);
    list.hidden = true;
    input.blur();
  });
  document.addEventListener("pointerdown", (event) => { if (!byId("jump").contains(event.target)) list.hidden = true; });
}
