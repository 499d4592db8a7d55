'use strict';
const { Fields, Lines, Output } = require('./parse');
const { Link } = require('./link');

const MAX_CLIENT_ID = 255;
const BILLION = 1_000_000_000;
const IAMAT = Buffer.from('IAMAT');
const WHATSAT = Buffer.from('WHATSAT');
// Places are not what is compared: a document of the right form, without any.
const DOCUMENT = '{\n   "html_attributions" : [],\n   "results" : [],\n   "status" : "ZERO_RESULTS"\n}\n\n';

// What is known of a client.
class Report {
  constructor(seconds, nanos, server, heardSeconds, heardNanos, line) {
    this.seconds = seconds;
    this.nanos = nanos;
    this.server = server;
    this.heardSeconds = heardSeconds;
    this.heardNanos = heardNanos;
    // The whole AT line, newline included, as a flat string: less memory than a Buffer of its own.
    this.line = line;
  }

  isNewerThan(held) {
    if (this.seconds !== held.seconds) return this.seconds > held.seconds;
    if (this.nanos !== held.nanos) return this.nanos > held.nanos;
    if (this.server !== held.server) return this.server > held.server;
    if (this.heardSeconds !== held.heardSeconds) return this.heardSeconds > held.heardSeconds;
    return this.heardNanos > held.heardNanos;
  }
}

// What a server knows, and the links by which it tells.
class Herd {
  constructor(name, neighbours) {
    this.name = name;
    this.greeting = Buffer.from(`AT ${name} `);
    this.clients = new Map();
    this.fields = new Fields();
    this.output = new Output();
    // What is news of what came together, as lines and as clients.
    this.news = [];
    this.changed = [];
    this.heardSeconds = 0;
    this.heardNanos = 0;
    this.links = neighbours.map((neighbour) => new Link(this, neighbour));
  }

  serveClient(socket) {
    const lines = new Lines((buffer, start, end, isCut) => this.answer(buffer, start, end, isCut));
    const reply = () => {
      this.flood(null);
      // Who does not read replies is not read from.
      if (this.output.length > 0 && !socket.write(this.output.take())) {
        socket.pause();
      }
    };
    socket.on('data', (chunk) => {
      this.readClock();
      lines.push(chunk);
      reply();
    });
    socket.on('drain', () => socket.resume());
    socket.on('end', () => {
      this.readClock();
      lines.finish();
      reply();
      socket.end();
    });
    // A connection that breaks concerns nobody else.
    socket.on('error', () => socket.destroy());
  }

  // The receiving half of a link: the neighbour's name, then AT lines.
  serveNeighbour(socket) {
    let sender = null;
    const lines = new Lines((buffer, start, end) => {
      if (sender === null) {
        sender = buffer.latin1Slice(start, end);
      } else {
        this.hear(buffer, start, end);
      }
    });
    socket.on('data', (chunk) => {
      lines.push(chunk);
      this.flood(sender);
    });
    socket.on('end', () => socket.end());
    socket.on('error', () => socket.destroy());
  }

  readClock() {
    const milliseconds = performance.timeOrigin + performance.now();
    this.heardSeconds = Math.floor(milliseconds / 1000);
    this.heardNanos = Math.floor((milliseconds - this.heardSeconds * 1000) * 1e6);
  }

  answer(buffer, start, end, isCut) {
    const { fields } = this;
    if (!isCut) {
      fields.split(buffer, start, end);
      if (fields.count === 4 && fields.length(1) <= MAX_CLIENT_ID) {
        if (fields.is(0, IAMAT)) {
          if (this.iamat()) return;
        } else if (fields.is(0, WHATSAT)) {
          if (this.whatsat()) return;
        }
      }
    }
    this.output.text('? ');
    this.output.put(buffer, start, end);
    this.output.byte(10);
  }

  iamat() {
    const { fields, output } = this;
    if (!fields.isPosition(2) || !fields.time(3)) return false;
    const client = fields.text(1);
    const held = this.clients.get(client);
    let { heardSeconds, heardNanos } = this;
    const isSameMoment = held !== undefined && held.seconds === fields.seconds
      && held.nanos === fields.nanos && held.server === this.name;
    if (isSameMoment && (heardSeconds - held.heardSeconds || heardNanos - held.heardNanos) <= 0) {
      // Twice in one batch: the later one has to be later for the neighbours, too.
      heardSeconds = held.heardSeconds;
      heardNanos = held.heardNanos + 1;
    }
    const start = output.length;
    output.put(this.greeting, 0, this.greeting.length);
    this.putSkew(heardSeconds - fields.seconds, heardNanos - fields.nanos);
    for (let field = 1; field <= 3; field++) {
      output.byte(32);
      output.put(fields.buffer, fields.starts[field], fields.ends[field]);
    }
    output.byte(10);
    const line = output.bytes.latin1Slice(start, output.length);
    this.keep(client, new Report(
      fields.seconds, fields.nanos, this.name, heardSeconds, heardNanos, line), held);
    return true;
  }

  putSkew(seconds, nanos) {
    if (nanos < 0) {
      nanos += BILLION;
      seconds--;
    }
    const isNegative = seconds < 0;
    if (isNegative) {
      seconds = nanos > 0 ? -seconds - 1 : -seconds;
      nanos = nanos > 0 ? BILLION - nanos : 0;
    }
    this.output.byte(isNegative ? 45 : 43);
    this.output.number(seconds, 1);
    this.output.byte(46);
    this.output.number(nanos, 9);
  }

  whatsat() {
    const report = this.clients.get(this.fields.text(1));
    if (report === undefined || !this.fields.isNumber(2, 50) || !this.fields.isWhole(3, 20)) return false;
    this.output.text(report.line);
    this.output.text(DOCUMENT);
    return true;
  }

  hear(buffer, start, end) {
    const { fields } = this;
    fields.split(buffer, start, end);
    if (fields.count !== 6) return;
    const sign = buffer[fields.starts[2]] === 45 ? -1 : 1;
    fields.timeAt(fields.starts[2] + 1, fields.ends[2]);
    let heardSeconds = sign * fields.seconds;
    let heardNanos = sign * fields.nanos;
    fields.time(5);
    heardSeconds += fields.seconds;
    heardNanos += fields.nanos;
    if (heardNanos < 0) {
      heardNanos += BILLION;
      heardSeconds--;
    } else if (heardNanos >= BILLION) {
      heardNanos -= BILLION;
      heardSeconds++;
    }
    const client = fields.text(3);
    const line = buffer.latin1Slice(start, end + 1);
    this.keep(client, new Report(
      fields.seconds, fields.nanos, fields.text(1), heardSeconds, heardNanos, line,
    ), this.clients.get(client));
  }

  keep(client, report, held) {
    if (held !== undefined && !report.isNewerThan(held)) return;
    this.clients.set(client, report);
    this.news.push(report.line);
    this.changed.push(client);
  }

  flood(sender) {
    if (this.news.length === 0) return;
    for (const link of this.links) {
      if (link.neighbour !== sender) link.tell(this.news, this.changed);
    }
    this.news = [];
    this.changed = [];
  }
}

module.exports = { Herd };
