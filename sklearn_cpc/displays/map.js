// The page of an EmbeddingMap. bokeh runs this when it has drawn `plot`, the scatter of `windows`; `ring` marks the
// current window. Texts of the user are only ever set as textContent, so nothing in them is read as HTML.
const {x, y, path, onset, duration, label, row, name, place, thumbnail, sound, note} = windows.data
const find = id => document.getElementById(id)
const [map, player, state, tip] = ["map", "player", "state", "tip"].map(find)
const selection = windows.selected
let current = null, heard = new Set(), column = columns[0]

const describe = i => [name[i], place[i], label[i]].filter(text => text !== "").join("\n")
const describeShortly = i => describe(i).replaceAll("\n", ", ")

function fillList(list, items, text, click) {
  list.replaceChildren(...items.map(item => {
    const line = document.createElement("li"), button = document.createElement("button")
    button.textContent = text(item)
    button.onclick = () => click(item)
    line.append(button)
    return line
  }))
}

function showImage(image, i) {
  image.hidden = !thumbnail[i]
  if (thumbnail[i]) image.src = thumbnail[i]
}

function showState(text, isPlaying = false) {
  state.textContent = text
  state.className = isPlaying ? "playing" : ""
}

function play(i) {
  const inNeighbours = find("neighbours").contains(document.activeElement)
  current = i
  heard.add(i)
  ring.data = {x: [x[i]], y: [y[i]]}
  find("current").textContent = describe(i)
  showImage(find("thumbnail"), i)
  find("similar").hidden = !neighbours[i].length
  const score = j => similarities[i][neighbours[i].indexOf(j)].toFixed(2)
  fillList(find("neighbours"), neighbours[i], j => `${score(j)}  ${describeShortly(j)}`, play)
  if (inNeighbours) find("neighbours").querySelector("button").focus()
  player.pause()
  if (!sound[i]) {
    player.removeAttribute("src")
    return showState(note[i])
  }
  showState("Loading")
  player.src = sound[i]
  player.play().catch(error => error.name === "AbortError" || showState(failure()))
}

const failure = () => sound[current].startsWith("data:") ? "The sound cannot be played."
  : `The sound cannot be played; is its file still there? ${decodeURI(sound[current])}`
player.onplaying = () => showState("Playing", true)
player.onpause = () => showState("Stopped")
player.onerror = () => showState(failure())

function stop() {
  player.pause()
  ring.data = {x: [], y: []}
  current = null
  heard = new Set()
  selection.indices = []
  find("search").value = ""
}

// Pixels of a position, from the lower left corner of the map
function toPixels(px, py) {
  const {x_range, y_range, inner_width, inner_height} = plot
  return [(px - x_range.start) / (x_range.end - x_range.start) * inner_width,
    (py - y_range.start) / (y_range.end - y_range.start) * inner_height]
}

// The window with the least cost, a function of its distances in pixels to the right and upward; null if all are infinite
function findBest(px, py, cost) {
  const [left, bottom] = toPixels(px, py)
  let best = null, least = Infinity
  for (let i = 0; i < x.length; i++) {
    const [right, top] = toPixels(x[i], y[i]), one = cost(right - left, top - bottom, i)
    if (one < least) [best, least] = [i, one]
  }
  return best
}

const findNear = event => findBest(event.x, event.y, (dx, dy) => Math.hypot(dx, dy) < 14 ? Math.hypot(dx, dy) : Infinity)

function move(right, up) {
  const along = (dx, dy) => dx * right + dy * up, across = (dx, dy) => Math.abs(dx * up) + Math.abs(dy * right)
  const cost = (dx, dy, i) => i !== current && along(dx, dy) >= across(dx, dy) && along(dx, dy) > 0
    ? along(dx, dy) + 2 * across(dx, dy) : Infinity
  const next = current === null ? 0 : findBest(x[current], y[current], cost)
  if (next !== null) play(next)
}

plot.on_event("tap", event => {
  const i = findNear(event)
  if (i === null) return
  heard = new Set()
  map.focus()
  play(i)
})
plot.on_event("mousemove", event => {
  const i = findNear(event)
  tip.hidden = i === null
  if (i === null) return
  showImage(tip.querySelector("img"), i)
  tip.querySelector("span").textContent = describe(i)
  tip.style.left = `${Math.min(event.sx + 15, map.clientWidth - tip.offsetWidth)}px`
  tip.style.top = `${Math.min(event.sy + 15, map.clientHeight - tip.offsetHeight)}px`
})
map.addEventListener("pointerleave", () => { tip.hidden = true })

const keys = {ArrowRight: () => move(1, 0), ArrowLeft: () => move(-1, 0), ArrowUp: () => move(0, 1), ArrowDown: () => move(0, -1)}
keys.n = keys.N = () => {
  const next = current === null ? 0 : neighbours[current].find(i => !heard.has(i))
  if (next !== undefined) play(next)
}
keys[" "] = () => current !== null && play(current)
keys.Escape = stop
document.addEventListener("keydown", event => {
  const used = event.target.closest("input, select, audio") ? ["Escape"] : Object.keys(keys)
  const pressesButton = event.key === " " && event.target.closest("button")
  if (!used.includes(event.key) || pressesButton || event.ctrlKey || event.altKey || event.metaKey) return
  event.preventDefault()
  keys[event.key]()
})

const showSelected = () => {
  const n = selection.indices.length
  find("count").textContent = n ? `${n} selected` + (n > 100 ? ", the first 100 are listed" : "") : "Nothing is selected"
  find("save").disabled = find("clear").disabled = !n
  fillList(find("selected"), selection.indices.slice(0, 100), describeShortly, play)
}
selection.properties.indices.change.connect(showSelected)
find("clear").onclick = () => { selection.indices = [] }
find("search").oninput = event => {
  const words = event.target.value.toLowerCase()
  const all = [...x.keys()]
  selection.indices = words ? all.filter(i => `${path[i]}\n${label[i]}`.toLowerCase().includes(words)) : []
}
find("save").onclick = () => {
  const quote = value => Number.isNaN(value) ? "" : `"${String(value).replaceAll('"', '""')}"`
  const lines = selection.indices.map(i => [path, onset, duration, label, row].map(values => quote(values[i])).join(","))
  const link = document.createElement("a")
  link.href = URL.createObjectURL(new Blob([["path,onset,duration,label,row", ...lines, ""].join("\r\n")], {type: "text/csv"}))
  link.download = "selected-windows.csv"
  link.click()
}

function colourBy(chosen) {
  const {codes, colours, markers, symbols, entries, ends} = chosen
  windows.data.colour = codes.map(code => colours[code])
  windows.data.marker = codes.map(code => markers[code])
  windows.change.emit()
  find("bar").style.background = ends ? `linear-gradient(90deg, ${colours.slice(0, -1)})` : ""
  find("bar").hidden = find("ends").hidden = !ends
  find("ends").replaceChildren(...(ends || []).map(text => Object.assign(document.createElement("span"), {textContent: text})))
  fillList(find("legend"), [...(entries || []).keys()], code => `${symbols[code]} ${entries[code]}`,
    code => { selection.indices = [...codes.keys()].filter(i => codes[i] === code) })
  find("legend").querySelectorAll("button").forEach((button, code) => { button.style.color = colours[code] })
}
find("colour").replaceChildren(...columns.map(one => new Option(one.name)))
find("colour").onchange = event => colourBy(columns[event.target.selectedIndex])
colourBy(columns[0])
