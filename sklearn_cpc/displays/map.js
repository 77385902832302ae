// The page of an EmbeddingMap, run by bokeh when it has drawn `points`. Texts of the user are only set as textContent.
const {path, onset, duration, row, thumbnail, sound, neighbours} = windows, {x, y} = points.data
const find = id => document.getElementById(id)
const [map, player, tip] = ["map", "player", "tip"].map(find)
const all = [...path.keys()]
const shapes = Object.entries(
  {circle: "●", square: "■", triangle: "▲", diamond: "◆", inverted_triangle: "▼", plus: "✚", star: "★"})
const labels = columns.find(column => column.name === "label" && column.names)
const label = i => labels ? labels.names[labels.codes[i]] : ""
let current = null, heard = new Set(), selected = [], column = null

function describe(i, separator) {
  const end = Number.isFinite(duration[i]) ? (onset[i] + duration[i]).toFixed(2) : "the end"
  const time = onset[i] || end !== "the end" ? `${onset[i].toFixed(2)} to ${end} s` : ""
  return [path[i].split(/[\\/]/).slice(-2).join("/"), time, label(i)].filter(text => text).join(separator)
}

function show(element, i) {
  const image = element.querySelector("img")
  image.hidden = !thumbnail[i]
  if (thumbnail[i]) image.src = thumbnail[i]
  element.querySelector("span").textContent = describe(i, "\n")
}

function fillList(list, items, text, click) {
  list.replaceChildren(...items.map(item => {
    const line = document.createElement("li"), button = document.createElement("button")
    button.textContent = text(item)
    button.onclick = () => click(item)
    line.append(button)
    return line
  }))
}

const say = text => { find("state").textContent = text }
player.onplaying = () => say("▶ Playing")
player.onpause = () => say("Stopped")
player.onerror = () => sound[current] && say("The browser cannot play this sound, or its file is not there")

function play(i) {
  const inList = find("neighbours").contains(document.activeElement)
  current = i
  heard.add(i)
  ring.data = {x: [x[i]], y: [y[i]]}
  show(find("current"), i)
  fillList(find("neighbours"), neighbours[i], j => describe(j, ", "), play)
  if (inList) find("neighbours").querySelector("button").focus()
  player.pause()
  player.src = sound[i]
  if (!sound[i]) return say("This sound is not in the page, and browsers do not play its file")
  say("Loading")
  player.play().catch(() => {}) // onerror says why
}

// The window with the least cost, a function of its distances in pixels to the right and upward; undefined: none
function findBest(px, py, cost) {
  const {x_range, y_range, inner_width, inner_height} = plot
  const width = inner_width / (x_range.end - x_range.start), height = inner_height / (y_range.end - y_range.start)
  const costs = all.map(i => cost((x[i] - px) * width, (y[i] - py) * height))
  const best = costs.reduce((one, value, i) => value < costs[one] ? i : one, 0)
  return costs[best] < Infinity ? best : undefined
}
const findNear = event => findBest(event.x, event.y, (dx, dy) => Math.hypot(dx, dy) < 14 ? Math.hypot(dx, dy) : Infinity)

plot.on_event("tap", event => {
  const i = findNear(event)
  if (i === undefined) return
  heard = new Set()
  map.focus()
  play(i)
})
plot.on_event("mousemove", event => {
  const i = findNear(event)
  tip.hidden = i === undefined
  if (tip.hidden) return
  show(tip, i)
  tip.style.left = `${Math.min(event.sx + 15, map.clientWidth - tip.offsetWidth)}px`
  tip.style.top = `${Math.min(event.sy + 15, map.clientHeight - tip.offsetHeight)}px`
})
map.onpointerleave = () => { tip.hidden = true }

function move(right, up) {
  const cost = (dx, dy) => {
    const along = dx * right + dy * up, across = Math.abs(dx * up) + Math.abs(dy * right)
    return along > 0 && along >= across ? along + 2 * across : Infinity
  }
  return findBest(x[current], y[current], cost)
}
const keys = {
  ArrowRight: () => move(1, 0), ArrowLeft: () => move(-1, 0), ArrowUp: () => move(0, 1), ArrowDown: () => move(0, -1),
  n: () => neighbours[current].find(i => !heard.has(i)), " ": () => current,
}
document.onkeydown = event => {
  const {key, target} = event, isUsed = target.closest("input, select, audio") || key === " " && target.closest("button")
  if (key === "Escape") {
    player.pause()
    find("search").value = ""
    select([])
  } else if (key in keys && !isUsed && !event.ctrlKey && !event.altKey && !event.metaKey) {
    event.preventDefault()
    const next = current === null ? 0 : keys[key]()
    if (next !== undefined) play(next)
  }
}

function draw() {
  const isSelected = new Set(selected), {codes, names} = column, n = palette.length
  const isKnown = code => code >= 0 && (!names || code < n * shapes.length)
  points.data.colour = codes.map(code => isKnown(code) ? (names ? palette[code % n] : cividis[code]) : "#999999")
  points.data.marker = codes.map(code => names && isKnown(code) ? shapes[code % shapes.length][0] : "circle")
  points.data.alpha = all.map(i => !selected.length || isSelected.has(i) ? 0.85 : 0.1)
  points.change.emit()
}
function select(rows) {
  selected = rows
  find("count").textContent = rows.length ? `${rows.length} selected` : "Nothing is selected"
  find("save").disabled = find("clear").disabled = !rows.length
  fillList(find("selected"), rows.slice(0, 200), i => describe(i, ", "), play)
  draw()
}
lasso.properties.indices.change.connect(() => select(lasso.indices))
find("clear").onclick = () => { select([]) }
find("search").oninput = event => {
  const words = event.target.value.toLowerCase()
  select(all.filter(i => words && `${path[i]}\n${label(i)}`.toLowerCase().includes(words)))
}
find("save").onclick = () => {
  const quote = value => Number.isNaN(value) ? "" : `"${String(value).replaceAll('"', '""')}"`
  const lines = selected.map(i => [path[i], onset[i], duration[i], label(i), row[i]].map(quote).join(","))
  const file = new Blob([["path,onset,duration,label,row", ...lines, ""].join("\r\n")], {type: "text/csv"})
  Object.assign(document.createElement("a"), {href: URL.createObjectURL(file), download: "selected.csv"}).click()
}

function colourBy(chosen) {
  column = chosen
  const {codes, names, ends} = column
  find("bar").replaceChildren(...(ends || []).map((text, i) => {
    return Object.assign(document.createElement("span"), {textContent: text, style: `order: ${2 * i}`})
  }))
  find("bar").hidden = !ends
  const rows = code => all.filter(i => codes[i] === code)
  const known = names ? names.slice(0, palette.length * shapes.length) : []
  fillList(find("legend"), [...known.keys()],
    code => `${shapes[code % shapes.length][1]} ${known[code] || "unknown"} (${rows(code).length})`, code => select(rows(code)))
  find("legend").querySelectorAll("button").forEach((button, code) => { button.style.color = palette[code % palette.length] })
  draw()
}
find("bar").style.setProperty("--colours", cividis)
find("colour").replaceChildren(...columns.map(one => new Option(one.name)))
find("colour").onchange = event => colourBy(columns[event.target.selectedIndex])
colourBy(columns[0])
