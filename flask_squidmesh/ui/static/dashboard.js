// Keeps a page current: asks the server for it again, and puts the regions in place that differ.
// Without this script every page works the same, by reloading it.
(() => {
  "use strict";
  const page = document.getElementById("squidmesh");
  if (!page || !page.dataset.live || !window.fetch || !window.DOMParser) return;

  const INTERVAL = Number(page.dataset.live) * 1000;
  const LONGEST = 60000;
  const state = document.getElementById("live-state");
  const news = document.getElementById("live-news");
  let tag = null;
  let pause = INTERVAL;
  let timer = null;
  let asking = false;

  const say = (element, text) => {
    if (element && element.textContent !== text) element.textContent = text;
  };

  // What somebody has typed stays theirs, unless the question itself is another one.
  const isInUse = (old, fresh) => {
    if ("subject" in old.dataset && old.dataset.subject === fresh.dataset.subject) {
      return old.querySelector("textarea") !== null;
    }
    return false;
  };

  const takeOver = (old, fresh) => {
    const open = new Set(Array.from(old.querySelectorAll("details[open][id]"), (d) => d.id));
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const place = focused && { id: focused.id, href: focused.getAttribute("href") };
    for (const name of old.getAttributeNames()) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const name of fresh.getAttributeNames()) old.setAttribute(name, fresh.getAttribute(name));
    old.replaceChildren(...Array.from(fresh.childNodes, (node) => document.importNode(node, true)));
    for (const details of old.querySelectorAll("details[id]")) details.open = open.has(details.id);
    if (place) {
      const again = Array.from(old.querySelectorAll("a, button, input, select, textarea, [tabindex]"))
        .find((e) => (place.id ? e.id === place.id : place.href && e.getAttribute("href") === place.href));
      (again || page).focus({ preventScroll: true });
    }
  };

  const content = (element) => {
    const copy = element.cloneNode(true);
    for (const hidden of copy.querySelectorAll('input[type="hidden"]')) hidden.remove();
    return copy.innerHTML;
  };

  const apply = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    if (!fresh.getElementById("squidmesh")) return false;
    const before = document.querySelector("[data-region][data-status]");
    const status = before && before.dataset.status;
    for (const old of document.querySelectorAll("[data-region][id]")) {
      const other = fresh.getElementById(old.id);
      if (!other || isInUse(old, other) || content(old) === content(other)) continue;
      takeOver(old, other);
      old.classList.add("sq-changed");
      old.addEventListener("animationend", () => old.classList.remove("sq-changed"), { once: true });
    }
    const now = document.querySelector("[data-region][data-status]");
    if (now && now.dataset.status !== status) say(news, `Now: ${now.dataset.status}.`);
    const asOf = document.getElementById("as-of");
    const later = fresh.getElementById("as-of");
    if (asOf && later) asOf.replaceWith(document.importNode(later, true));
    document.title = fresh.title;
    return true;
  };

  const stop = (text) => {
    clearTimeout(timer);
    page.dataset.liveState = "stopped";
    say(state, text);
  };

  const ask = async () => {
    if (asking) return;
    asking = true;
    const began = performance.now();
    try {
      const headers = tag ? { "If-None-Match": tag } : {};
      const answer = await fetch(location.href, {
        headers, credentials: "same-origin", cache: "no-store", redirect: "manual",
      });
      if (answer.status === 200) {
        const text = await answer.text();
        if (!apply(text)) return stop("No longer live.");
        tag = answer.headers.get("ETag");
      } else if (answer.status !== 304) {
        // Logged out, no longer allowed, or gone: the page as it is stays to be read.
        if (answer.status >= 500) throw new Error("server");
        return stop("No longer live.");
      }
      // What is costly to make is asked for less often.
      pause = Math.min(Math.max(INTERVAL, 10 * (performance.now() - began)), LONGEST);
      page.dataset.liveState = "live";
      say(state, "Kept current.");
    } catch {
      pause = Math.min(pause * 2, LONGEST);
      page.dataset.liveState = "trying";
      say(state, "Not reachable, trying again.");
    } finally {
      asking = false;
    }
    later();
  };

  const later = () => {
    clearTimeout(timer);
    timer = document.hidden ? null : setTimeout(ask, pause);
  };

  document.addEventListener("visibilitychange", () => {
    if (page.dataset.liveState === "stopped") return;
    if (document.hidden) clearTimeout(timer);
    else ask();
  });
  // One form is sent once, however often its button is pressed.
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "1";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });
  say(state, "Kept current.");
  page.dataset.liveState = "live";
  later();
})();
