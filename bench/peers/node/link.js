'use strict';
const net = require('node:net');

// How many clients a link that catches up is told about in one write.
const CATCH_UP = 4096;

// The sending half of a link. While it cannot send it keeps which clients are news, not what was said of
// them, so that it is bounded and what is sent later is the newest.
class Link {
  constructor(herd, { name, host, port }) {
    this.herd = herd;
    this.neighbour = name;
    this.host = host;
    this.port = port;
    this.isConnected = false;
    this.isFull = false;
    this.batch = [];
    this.behind = new Set();
    this.pause = 50;
  }

  stayConnected() {
    const socket = net.connect({ host: this.host, port: this.port, noDelay: true });
    this.socket = socket;
    socket.on('connect', () => {
      this.isConnected = true;
      this.isFull = false;
      this.pause = 50;
      socket.write(`${this.herd.name}\n`, 'latin1');
      // What the neighbour knows is not known: it is told everything, and drops what it has.
      this.behind = new Set(this.herd.clients.keys());
      this.catchUp();
    });
    socket.on('drain', () => {
      this.isFull = false;
      this.catchUp();
    });
    // Nothing is ever said here, but only who reads hears of the end.
    socket.resume();
    socket.on('error', () => {});
    socket.on('close', () => {
      this.isConnected = false;
      this.batch = [];
      setTimeout(() => this.stayConnected(), this.pause);
      this.pause = Math.min(2 * this.pause, 1000);
    });
  }

  tell(news, changed) {
    if (!this.isConnected) return;
    if (this.isFull || this.behind.size > 0) {
      for (const client of changed) this.behind.add(client);
      return;
    }
    // One write for all that is news in this turn of the event loop.
    if (this.batch.length === 0) setImmediate(() => this.flush());
    this.batch.push(news);
  }

  flush() {
    if (this.batch.length === 0) return;
    const text = this.batch.flat().join('');
    this.batch = [];
    this.send(text);
  }

  catchUp() {
    while (this.behind.size > 0 && !this.isFull) {
      const lines = [];
      for (const client of this.behind) {
        this.behind.delete(client);
        lines.push(this.herd.clients.get(client).line);
        if (lines.length === CATCH_UP) break;
      }
      this.send(lines.join(''));
    }
  }

  send(text) {
    this.isFull = !this.socket.write(text, 'latin1');
  }
}

module.exports = { Link };
