// Browsers start no workers for pages opened from the disk (file://); search runs in one. There, a hidden frame stands in.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      const address = new URL(url, document.baseURI).href;
      // What the worker's script says, the page hears.
      inside.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      inside.importScripts = (...addresses) => addresses.reduce(
        (before, source) => before.then(() => load(inside, source)), Promise.resolve());
      this.ready = load(inside, address);
      this.inside = inside;
    }
    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() {
      this.inside.frameElement.remove();
    }
  };
  const load = (inside, source) => new Promise((loaded, failed) => {
    const script = inside.document.createElement("script");
    script.src = source;
    script.onload = loaded;
    script.onerror = failed;
    inside.document.body.append(script);
  });
}
