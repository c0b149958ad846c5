// Keeps a page up to date: the server says that records are new, the page is fetched again, and the
// parts that changed are exchanged. Without this file every page is complete; it only stands still.
(() => {
  "use strict";
  const pulse = document.getElementById("pulse");
  const say = (text) => { if (pulse) pulse.textContent = text; };
  const clock = () => new Date().toISOString().slice(11, 19) + " UTC";

  // what a person has opened or is writing in stays as it is
  const busy = (part) => {
    const at = document.activeElement;
    return part.contains(at) && at.matches("input, textarea, select");
  };
  const opened = (part) => [...part.querySelectorAll("details")].map((d) => d.open);

  const exchange = (part, fresh) => {
    if (part.innerHTML === fresh.innerHTML || busy(part)) return false;
    const open = opened(part), count = open.length;
    const focus = part.contains(document.activeElement) ? document.activeElement : null;
    const href = focus && focus.getAttribute("href");
    part.replaceChildren(...fresh.childNodes);
    const now = part.querySelectorAll("details");
    if (now.length === count) now.forEach((d, i) => { d.open = open[i]; });
    if (href) {
      const again = [...part.querySelectorAll("a")].find((a) => a.getAttribute("href") === href);
      if (again) again.focus();
    }
    part.classList.remove("arrived");
    void part.offsetWidth;
    part.classList.add("arrived");
    return true;
  };

  let waiting = 0, again = false;
  const refresh = async () => {
    if (waiting) { again = true; return; }
    waiting = 1;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        let changed = false;
        for (const part of document.querySelectorAll("[data-live]")) {
          const next = fresh.getElementById(part.id);
          if (next && exchange(part, next)) changed = true;
        }
        if (changed) { document.title = fresh.title; say("updated " + clock()); }
      }
    } catch { say("no answer since " + clock()); }
    waiting = 0;
    if (again) { again = false; refresh(); }
  };

  const follow = (address, told) => {
    const events = new EventSource(address);
    events.onopen = () => say("● live");
    events.onerror = () => {
      say("○ connecting again");
      if (events.readyState === EventSource.CLOSED) poll();
    };
    events.onmessage = (event) => told(JSON.parse(event.data));
    addEventListener("pagehide", () => events.close());
  };

  const address = document.body.dataset.follow;
  const poll = () => setInterval(() => { if (!document.hidden) refresh(); }, 2000);
  if (address) {
    if (window.EventSource) follow(address, (told) => { if (!told.following) refresh(); });
    else poll(); // and where a stream is refused for good, see follow
    setInterval(() => { if (!document.hidden) refresh(); }, 60000); // ages move on
  }

  // the monitor
  const log = document.querySelector("[data-log]");
  if (log) {
    const line = (text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    };
    follow(log.dataset.log, (told) => {
      if (!told.records) return;
      for (const name of told.records) {
        log.prepend(line(clock() + "  " + told.incident + "  " + name));
      }
      while (log.childNodes.length > 200) log.lastChild.remove();
    });
    const agents = document.querySelector("[data-agents]");
    const health = document.querySelector("[data-health]");
    setInterval(async () => {
      const found = await (await fetch(agents.dataset.agents)).json();
      const shown = found.agents.map((a) => line(a.id + " - " + a.role + " - " + a.status));
      agents.replaceChildren(...(shown.length ? shown : [line("none")]));
      const known = await (await fetch(health.dataset.health)).json();
      health.textContent = "Status: " + known.status + " | Broker: " + known.broker;
    }, 5000);
  }
})();
