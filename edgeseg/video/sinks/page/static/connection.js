// The websocket: it opens again by itself, and notices a server that fell silent.

const SILENT_MS = 5000; // the server says something every second
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5000;
const GOING_AWAY = 1001; // what the server says when its run is over

export class Connection {
  /** `take(data, done)` gets each message; `lost(over)` is called when the server is gone, with
   * whether it said that the run is over. */
  constructor({ take, lost, mayBeSilent }) {
    this.take = take;
    this.onLost = lost;
    this.socket = null;
    this.heardMs = 0;
    this.retryMs = FIRST_RETRY_MS;
    this.retryTimer = 0;
    this.over = false;
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
      this.over = false;
      this.take(event.data, () => opened.readyState === WebSocket.OPEN && opened.send("next"));
    };
    opened.onclose = (event) => {
      if (opened !== this.socket) return;
      this.over ||= event.code === GOING_AWAY;
      this.lost();
    };
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
    this.onLost(this.over);
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.again(), this.retryMs);
    this.retryMs = Math.min(this.retryMs * 1.6, LONGEST_RETRY_MS);
  }

  async again() {
    // A server that was started again may want another token: its answer says where to get it.
    const patience = AbortSignal.timeout(SILENT_MS); // a board without power answers nothing at all
    const answer = await fetch("stats.json", { cache: "no-store", signal: patience }).catch(() => null);
    if (answer && answer.status === 401) location.reload();
    else if (!this.socket) this.open();
  }
}
