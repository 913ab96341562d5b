"use strict";
const $ = (id) => document.getElementById(id);
const token = document.body.dataset.token;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const FRAME = 90; // milliseconds of an animation's step
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let facts = { runs: {}, samplers: [] };
let figures = [];
let asking = null;
let note = () => say("ready");

function say(key, ...about) {
  const found = LANGUAGES[language][key];
  return typeof found === "function" ? found(...about) : found;
}

function tell(make) {
  note = make;
  $("status").textContent = note();
}

// Everything that is written, again in the language that is chosen.
function speak() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const part of document.querySelectorAll("[data-say]")) part.textContent = say(part.dataset.say);
  const other = language === "zh" ? "en" : "zh";
  $("language").textContent = LANGUAGES[other].here;
  $("language").lang = other === "zh" ? "zh-CN" : "en";
  $("guidance").placeholder = say("own");
  const own = $("sampler").options[0];
  if (own) own.textContent = say("own");
  tell(note);
  for (const figure of figures) figure.speak();
}

// One run's picture: how it forms, where its words act, and what can be saved of it.
class Figure {
  constructor(run, prompt) {
    this.run = run;
    this.prompt = prompt;
    this.moments = [];
    this.acting = null;
    this.word = -1;
    this.playing = 0;
    this.part = $("figure").content.firstElementChild.cloneNode(true);
    this.part.dataset.run = run;
    const { height, width } = facts.runs[run];
    this.find(".stack").style.aspectRatio = `${width} / ${height}`;
    this.find(".step").addEventListener("input", () => { this.pause(); this.show(); });
    this.find(".noisy").addEventListener("change", () => this.show());
    this.find(".sigma").addEventListener("input", () => this.veil());
    this.find(".play").addEventListener("click", () => this.playing ? this.pause() : this.play());
    this.speak();
    $("drawn").append(this.part);
  }

  find(selector) { return this.part.querySelector(selector); }

  speak() {
    this.find("h2").textContent = this.run;
    this.find("figcaption p").textContent = say("toldBy", facts.runs[this.run].told_by);
    this.find(".noise").textContent = say("noise");
    this.find(".acting legend").textContent = say("acting");
    this.find(".play").textContent = say(this.playing ? "pause" : "play");
    const [picture, animation] = this.part.querySelectorAll(".save");
    picture.textContent = say("savePicture");
    animation.textContent = say("saveAnimation");
    const none = this.find(".word span");
    if (none) none.textContent = say("none");
    if (this.moments.length) this.show();
    if (this.acting) this.veil();
  }

  step(event) {
    this.moments.push(event);
    if (!still.matches) this.draw(event.clean, this.alt());
    if (event.index === 0) tell(() => say("draws", this.run)); // once a run: a screen reader says what stands there
    $("progress").textContent = say("step", event.index + 1, event.steps);
  }

  alt() { return say("alt", this.prompt, this.run); }

  draw(source, alt) {
    this.find(".picture").src = source;
    this.find(".picture").alt = alt;
  }

  picture(event) {
    this.finished = event.picture;
    const slider = this.find(".step");
    slider.max = this.moments.length;
    slider.value = this.moments.length;
    this.find(".forming").hidden = false;
    this.find(".saving").hidden = false;
    const [picture, animation] = this.part.querySelectorAll(".save");
    const name = (this.prompt || this.run).replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40);
    Object.assign(picture, { href: event.picture, download: `${name}.png` });
    Object.assign(animation, { href: event.animation, download: `${name}.webp` });
    this.show();
  }

  // The moment that the slider stands at; its right end is the finished picture.
  show() {
    const at = Number(this.find(".step").value), steps = this.moments.length, noisy = this.find(".noisy").checked;
    const moment = this.moments[at];
    const text = moment ? say("moment", at + 1, steps, moment.sigma.toFixed(2)) : say("finished", steps);
    this.find(".moment").textContent = text;
    this.find(".step").setAttribute("aria-valuetext", text);
    if (moment && noisy) this.draw(moment.noisy, say("noisyAlt", this.prompt, this.run));
    else if (moment || this.finished) this.draw(moment ? moment.clean : this.finished, this.alt());
  }

  play() {
    const slider = this.find(".step");
    if (Number(slider.value) >= this.moments.length) slider.value = 0;
    this.playing = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      this.show();
      if (Number(slider.value) >= this.moments.length) this.pause();
    }, FRAME);
    this.speak();
  }

  pause() {
    clearInterval(this.playing);
    this.playing = 0;
    this.speak();
  }

  words(event) {
    if (!event.words.length) return;
    this.acting = event;
    const group = `word of ${this.run}`;
    const choices = [choice("radio", group, "", () => this.choose(-1)), ...event.words.map((word, at) => choice("radio", group, word, () => this.choose(at)))];
    choices[0].querySelector("input").checked = true;
    this.find(".words").replaceChildren(...choices);
    const slider = this.find(".sigma");
    slider.max = event.sigmas.length - 1;
    slider.value = Math.floor(event.sigmas.length / 2);
    this.find(".acting").hidden = false;
    this.speak();
  }

  choose(word) {
    this.word = word;
    this.veil();
  }

  veil() {
    const level = Number(this.find(".sigma").value), veil = this.find(".veil");
    const text = say("level", this.acting.sigmas[level].toFixed(2));
    this.find(".level").textContent = text;
    this.find(".sigma").setAttribute("aria-valuetext", text);
    veil.hidden = this.word < 0;
    if (veil.hidden) return;
    veil.src = this.acting.maps[this.word][level];
    veil.alt = say("veilAlt", this.acting.words[this.word], this.acting.whole[this.word].toFixed(3));
  }

  failed(event) {
    const text = this.find(".failed");
    text.hidden = false;
    text.textContent = event.hint ? `${event.error} (${event.hint})` : event.error;
  }
}

function choice(type, name, text, chosen) {
  const label = document.createElement("label"), input = document.createElement("input"), span = document.createElement("span");
  label.className = "word";
  Object.assign(input, { type, name, value: text });
  span.textContent = text;
  label.append(input, " ", span);
  input.addEventListener("change", chosen);
  return label;
}

async function draw() {
  const runs = [...document.querySelectorAll("#runs input:checked")].map((input) => input.value);
  if (!runs.length) return tell(() => say("nobody"));
  const prompt = $("prompt").value, number = (id) => $(id).value === "" ? null : Number($(id).value);
  for (const figure of figures) figure.pause();
  $("drawn").replaceChildren();
  figures = runs.map((run) => new Figure(run, prompt));
  asking = new AbortController();
  busy(true);
  tell(() => say("asking"));
  const asked = { prompt, runs, seed: number("seed"), steps: number("steps"), guidance: number("guidance"), sampler: $("sampler").value || null, words: $("words").checked };
  try {
    await follow(asked, asking.signal);
  } catch (error) {
    tell(() => error.name === "AbortError" ? say("stopped") : say("lost"));
  }
  $("progress").textContent = "";
  busy(false);
}

async function follow(asked, signal) {
  const headers = { "Content-Type": "application/json", "X-Cdkit-Token": token };
  const answer = await fetch("draw", { method: "POST", headers, body: JSON.stringify(asked), signal });
  if (!answer.ok) {
    const why = await answer.text();
    return tell(() => say("refused", why));
  }
  const reader = answer.body.getReader(), decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return tell(() => say("lost"));
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop();
    for (const event of lines.map((line) => JSON.parse(line))) {
      if (event.event === "end") return finish();
      figures.find((figure) => figure.run === event.run)[event.event](event);
    }
  }
}

function finish() {
  const count = figures.filter((figure) => figure.finished).length;
  tell(() => say("done", count));
}

function busy(drawing) {
  $("draw").disabled = drawing;
  $("stop").disabled = !drawing;
  $("drawn").setAttribute("aria-busy", String(drawing));
}

function offer() {
  const names = Object.keys(facts.runs), first = facts.runs[names[0]];
  $("runs").replaceChildren(...names.map((name) => choice("checkbox", "run", name, () => {})));
  for (const input of document.querySelectorAll("#runs input")) input.checked = true;
  $("steps").value = first.steps;
  $("sampler").replaceChildren(new Option("", ""), ...facts.samplers.map((name) => new Option(name, name)));
  const prompts = new Set(names.flatMap((name) => facts.runs[name].prompts));
  $("prompts").replaceChildren(...[...prompts].map((prompt) => new Option(prompt, prompt)));
  speak();
}

$("form").addEventListener("submit", (event) => { event.preventDefault(); draw(); });
$("stop").addEventListener("click", () => asking.abort());
$("other").addEventListener("click", () => { $("seed").value = crypto.getRandomValues(new Uint32Array(1))[0]; });
$("language").addEventListener("click", () => { language = language === "zh" ? "en" : "zh"; speak(); });
speak();
fetch("about", { headers: { "X-Cdkit-Token": token } }).then((answer) => answer.json()).then((told) => { facts = told; offer(); }, () => tell(() => say("lost")));
