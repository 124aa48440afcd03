// The websocket: it opens again by itself, and notices a server that fell silent.

const SILENT_MS = 5000; // the server says something every second
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5000;

export class Connection {
  /** `take(data, done)` gets each message; `lost()` is called when the server is gone. */
  constructor({ take, lost, mayBeSilent }) {
    this.take = take;
    this.onLost = lost;
    this.socket = null;
    this.heardMs = 0;
    this.retryMs = FIRST_RETRY_MS;
    this.retryTimer = 0;
    window.addEventListener("online", () => !this.socket && this.open());
    setInterval(() => {
      const silentMs = performance.now() - this.heardMs;
      if (this.socket && !mayBeSilent() && silentMs > SILENT_MS) this.lost();
    }, 1000);
  }

  get isOpen() {
    return this.socket !== null && this.socket.readyState === WebSocket.OPEN;
  }

  open() {
    clearTimeout(this.retryTimer);
    const url = new URL("live", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = "";
    const opened = new WebSocket(url);
    this.socket = opened;
    opened.binaryType = "arraybuffer";
    this.heard();
    opened.onmessage = (event) => {
      if (opened !== this.socket) return;
      this.heard();
      this.retryMs = FIRST_RETRY_MS;
      this.take(event.data, () => opened.readyState === WebSocket.OPEN && opened.send("next"));
    };
    opened.onclose = () => opened === this.socket && this.lost();
  }

  heard() {
    this.heardMs = performance.now();
  }

  send(word) {
    if (this.isOpen) this.socket.send(word);
  }

  /** Try again, a little later each time. */
  lost() {
    const gone = this.socket;
    this.socket = null;
    gone?.close();
    this.onLost();
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.again(), this.retryMs);
    this.retryMs = Math.min(this.retryMs * 1.6, LONGEST_RETRY_MS);
  }

  async again() {
    // A server that was started again may want another token: its answer says where to get it.
    const answer = await fetch("stats.json", { cache: "no-store" }).catch(() => null);
    if (answer && answer.status === 401) location.reload();
    else if (!this.socket) this.open();
  }
}
