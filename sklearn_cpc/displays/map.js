// The page of an EmbeddingMap, run by bokeh when it has drawn `points`. Texts of the user are only set as textContent.
const {path, onset, duration, row, thumbnail, sound, neighbours} = windows, {x, y} = points.data
const all = [...path.keys()]
const find = id => document.getElementById(id)
const player = find("player")
const labels = columns.find(column => column.name === "label" && column.names)
const label = i => labels ? labels.names[labels.codes[i]] : ""
let current, heard = new Set()

function describe(i, separator) {
  const end = duration[i] > 0 ? ` to ${(onset[i] + duration[i]).toFixed(2)}` : ""
  const name = path[i].split(/[\\/]/).slice(-2).join("/")
  return [name, onset[i] || end ? `${onset[i].toFixed(2)}${end} s` : "", label(i)].filter(text => text).join(separator)
}
function show(element, i) {
  const [image, text] = element.children
  image.hidden = !thumbnail[i]
  image.src = thumbnail[i] || "data:,"
  text.textContent = describe(i, "\n")
}
function fillList(list, items, text, click) {
  list.replaceChildren(...items.map(item => {
    const line = document.createElement("li"), button = document.createElement("button")
    Object.assign(button, {textContent: text(item), onclick: () => click(item)})
    line.append(button)
    return line
  }))
}

const say = text => { find("state").textContent = text }
player.onplaying = () => say("▶ Playing")
player.onpause = () => player.error || say("Stopped")
player.onerror = () => say(sound[current] ? "The browser cannot play this sound, or its file is not there"
  : "This sound is not in the page, and browsers do not play its file")
function play(i) {
  const isInList = find("neighbours").contains(document.activeElement)
  current = i
  heard.add(i)
  ring.data = {x: [x[i]], y: [y[i]]}
  show(find("current"), i)
  fillList(find("neighbours"), neighbours[i], j => describe(j, ", "), play)
  if (isInList) find("neighbours").querySelector("button").focus()
  say("Loading")
  player.src = sound[i] || "data:,"
  player.play().catch(() => {}) // onerror tells why
}

// Find the window with the least cost, a function of its distances in pixels to the right and upward.
function findBest(px, py, cost) {
  const {x_range, y_range, inner_width, inner_height} = plot
  const width = inner_width / (x_range.end - x_range.start), height = inner_height / (y_range.end - y_range.start)
  const costs = all.map(i => cost((x[i] - px) * width, (y[i] - py) * height))
  const least = Math.min(...costs)
  return least < Infinity ? costs.indexOf(least) : undefined
}
const findNear = event => findBest(event.x, event.y, (...d) => Math.hypot(...d) < 14 ? Math.hypot(...d) : Infinity)
const move = (right, up) => () => findBest(x[current], y[current], (dx, dy) => {
  const along = dx * right + dy * up
  return along > 0 ? (dx * dx + dy * dy) / along : Infinity // far points and those to the side cost more
})
const keys = {ArrowRight: move(1, 0), ArrowLeft: move(-1, 0), ArrowUp: move(0, 1), ArrowDown: move(0, -1)}
keys.n = () => neighbours[current].find(i => !heard.has(i))
keys[" "] = () => current
document.onkeydown = event => {
  const {key, target} = event
  if (key === "Escape") {
    player.pause()
    find("search").value = ""
    return select([])
  }
  const isUsed = target.closest("input, select, audio") || key === " " && target.closest("button")
  if (!(key in keys) || isUsed || event.ctrlKey || event.altKey || event.metaKey) return
  event.preventDefault()
  const next = current === undefined ? 0 : keys[key]()
  if (next !== undefined) play(next)
}
const click = event => {
  const i = findNear(event)
  if (i === undefined) return
  heard = new Set()
  find("map").focus()
  play(i)
}
for (const kind of ["tap", "doubletap", "press"]) plot.on_event(kind, click) // also of quick and of slow fingers
plot.on_event("mousemove", event => {
  const i = findNear(event)
  find("tip").hidden = i === undefined
  if (i !== undefined) show(find("tip"), i)
})

const selection = points.selected
const select = rows => { selection.indices = rows }
selection.properties.indices.change.connect(() => {
  const rows = selection.indices
  find("count").textContent = rows.length ? `${rows.length} selected` : "Nothing is selected"
  find("save").disabled = find("clear").disabled = !rows.length
  fillList(find("selected"), rows.slice(0, 200), i => describe(i, ", "), play)
})
find("clear").onclick = () => select([])
find("search").oninput = event => {
  const words = event.target.value.toLowerCase()
  select(all.filter(i => words && `${path[i]}\n${label(i)}`.toLowerCase().includes(words)))
}
find("save").onclick = () => {
  const quote = value => Number.isNaN(value) ? "" : `"${String(value).replaceAll('"', '""')}"`
  const lines = selection.indices.map(i => [path[i], onset[i], duration[i], label(i), row[i]].map(quote).join(","))
  const file = new Blob([["path,onset,duration,label,row", ...lines, ""].join("\r\n")], {type: "text/csv"})
  Object.assign(document.createElement("a"), {href: URL.createObjectURL(file), download: "selected.csv"}).click()
}

function colourBy({codes, names, ends}) {
  const n = palette.length, known = names ? names.slice(0, n * shapes.length) : cividis
  const colour = code => code in known ? (names ? palette[code % n] : cividis[code]) : "#999999"
  const shape = code => shapes[names && code in known ? code % shapes.length : 0]
  points.data = {x, y, colour: codes.map(colour), marker: codes.map(code => shape(code)[0])}
  find("bar").hidden = names
  if (ends) [find("low").textContent, find("high").textContent] = ends
  const members = code => all.filter(i => codes[i] === code)
  const entry = code => `${shape(code)[1]} ${known[code] || "unknown"} (${members(code).length})`
  fillList(find("legend"), names ? [...known.keys()] : [], entry, code => select(members(code)))
  find("legend").querySelectorAll("button").forEach((button, code) => button.style.setProperty("--colour", colour(code)))
}
find("bar").style.setProperty("--colours", cividis)
find("colour").replaceChildren(...columns.map(one => new Option(one.name)))
find("colour").onchange = event => colourBy(columns[event.target.selectedIndex])
colourBy(columns[0])
