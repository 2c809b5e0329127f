// Parts of a page are refreshed while it is open: what is unfolded stays so, and the focus stays where it is.

document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const old = event.detail.target;
  for (const details of old.querySelectorAll("details[id][open]")) {
    const fresh = event.detail.fragment.querySelector(`#${CSS.escape(details.id)}`);
    if (fresh) fresh.open = true;
  }
  const focused = document.activeElement;
  if (!old.contains(focused)) return;
  const place = focused.id || focused.closest("[id]")?.id;
  const tag = focused.tagName;
  setTimeout(() => {
    const around = place && document.getElementById(place);
    const fresh = focused.id ? around : around?.querySelector(tag);
    if (fresh && !document.contains(focused)) fresh.focus({ preventScroll: true });
  });
});

// A diagram that is wider than the screen begins where the process is.

const showPresent = () => {
  const present = document.querySelector(".saga-diagram .present");
  const frame = present?.closest("[tabindex]");
  if (!frame || frame.scrollLeft || frame.scrollWidth <= frame.clientWidth) return;
  const box = present.getBoundingClientRect();
  frame.scrollLeft = box.left + box.width / 2 - frame.getBoundingClientRect().left - frame.clientWidth / 2;
};
document.addEventListener("DOMContentLoaded", showPresent);
document.addEventListener("htmx:oobAfterSwap", showPresent);

// The theme's links without an address are buttons, but only for a mouse: these are for the keyboard, too.

document.addEventListener("DOMContentLoaded", () => {
  for (const each of document.querySelectorAll("a:not([href])")) Object.assign(each, { tabIndex: 0, role: "button" });
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("a:not([href])")) event.target.click();
});
