(() => {
  const box = document.getElementById("leave");
  const STATES = ["wait", "away", "thanks", "no", "off"];
  const say = (state) => STATES.forEach((one) => { document.getElementById(one).hidden = one !== state; });
  const tags = [...box.querySelectorAll("wx-open-subscribe")];
  let ready = false;
  const show = (on) => tags.forEach((tag) => { tag.parentNode.hidden = !on; });
  const away = () => { ready = false; show(false); say("away"); };
  const saidYes = (details) => {
    try {
      return Object.values(JSON.parse(details)).some((one) => JSON.parse(one).status === "accept");
    } catch { return false; }
  };
  const begin = () => {
    if (!window.wx || !window.wx.config) { away(); return; }
    window.wx.error(away);
    window.wx.ready(() => { ready = true; say(""); show(true); });
    window.wx.config(JSON.parse(box.dataset.config));
  };
  document.addEventListener("WeixinOpenTagsError", away);
  tags.forEach((tag) => {
    tag.addEventListener("success", (event) => {
      const yes = saidYes(event.detail.subscribeDetails);
      const count = tag.closest("section").querySelector(".count");
      count.textContent = yes ? count.dataset.yes : count.dataset.no;
      say(yes ? "thanks" : "no");
    });
    tag.addEventListener("error", (event) => say(Number(event.detail && event.detail.errCode) === 20004 ? "off" : "away"));
  });
  const script = document.createElement("script");
  script.src = box.dataset.script;
  script.onload = begin;
  script.onerror = away;
  document.head.append(script);
  setTimeout(() => { if (!ready) away(); }, 10000);
})();
