// A simulated JS-SDK of WeChat: asks the sandbox whether the page is signed well, draws wx-open-subscribe, and plays WeChat's dialog.
(() => {
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const zh = navigator.language.startsWith("zh");
  const words = zh
    ? { title: "发送一次性订阅消息", accept: "允许", reject: "不允许" }
    : { title: "Send you one notice?", accept: "Allow", reject: "Don't allow" };
  const DIALOG = "dialog{border:0;border-radius:12px 12px 0 0;margin:auto auto 0;width:100%;max-width:480px;padding:24px;box-sizing:border-box;font:16px/24px system-ui,sans-serif}"
    + "dialog::backdrop{background:rgba(0,0,0,.5)}p{margin:0 0 16px;font-weight:600}div{display:grid;grid-template-columns:1fr 1fr;gap:12px}"
    + "dialog button{min-height:48px;border:0;border-radius:8px;font:inherit;background:#f2f2f2;color:#07c160}dialog button.accept{background:#07c160;color:#fff}";
  const waiting = { ready: [], error: [] };
  let outcome = null;

  const ask = async (path, body) => {
    const answer = await fetch(folder + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    return answer.json();
  };
  const tell = (kind, what) => {
    outcome = [kind, what];
    waiting[kind].forEach((heard) => heard(what));
  };
  const button = (kind, chosen) => {
    const made = document.createElement("button");
    made.textContent = words[kind];
    made.className = kind;
    made.onclick = () => chosen(kind);
    return made;
  };

  class Subscribe extends HTMLElement {
    connectedCallback() {
      if (this.shadowRoot) return;
      const root = this.attachShadow({ mode: "open" });
      const parts = [...this.querySelectorAll("script[type='text/wxtag-template']")];
      const sheet = new CSSStyleSheet(); // a page's policy lets no style element in
      const styles = parts.flatMap((part) => [...part.textContent.matchAll(/<style>([^]*?)<\/style>/g)].map((found) => found[1]));
      sheet.replaceSync([DIALOG, ...styles].join("\n"));
      root.adoptedStyleSheets = [sheet];
      for (const part of parts) root.append(...new DOMParser().parseFromString(part.textContent.replace(/<style>[^]*?<\/style>/g, ""), "text/html").body.children);
      root.addEventListener("click", (event) => { if (!event.target.closest("dialog")) this.open(root); });
    }

    open(root) {
      const dialog = document.createElement("dialog");
      const line = document.createElement("p");
      line.textContent = words.title;
      const row = document.createElement("div");
      row.append(button("reject", (kind) => this.chosen(dialog, kind)), button("accept", (kind) => this.chosen(dialog, kind)));
      dialog.append(line, row);
      root.append(dialog);
      dialog.showModal();
    }

    async chosen(dialog, status) {
      dialog.remove();
      const templates = this.getAttribute("template").split(",");
      const said = await ask("jssdk/answer", { templates, status });
      if (said.errCode) {
        this.dispatchEvent(new CustomEvent("error", { detail: said }));
        return;
      }
      const details = JSON.stringify(Object.fromEntries(templates.map((one) => [one, JSON.stringify({ status })])));
      this.dispatchEvent(new CustomEvent("success", { detail: { errMsg: "subscribe:ok", subscribeDetails: details } }));
    }
  }

  window.wx = {
    ready: (heard) => { waiting.ready.push(heard); if (outcome && outcome[0] === "ready") heard(); },
    error: (heard) => { waiting.error.push(heard); if (outcome && outcome[0] === "error") heard(outcome[1]); },
    config: async (given) => {
      const said = await ask("jssdk/config", { ...given, url: location.href.split("#")[0] });
      if (said.errMsg !== "config:ok") { tell("error", said); return; }
      if ((given.openTagList || []).includes("wx-open-subscribe") && (given.jsApiList || []).length) customElements.define("wx-open-subscribe", Subscribe);
      tell("ready");
    },
  };
})();
