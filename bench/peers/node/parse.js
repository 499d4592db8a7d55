'use strict';
// Lines and their fields, read where they lie in a Buffer.

const MAX_LINE = 8192;
const LF = 10, CR = 13, SPACE = 32, PLUS = 43, MINUS = 45, POINT = 46, ZERO = 48;

function isSpace(byte) {
  return byte === SPACE || (byte >= 9 && byte <= 13);
}

function isDigit(byte) {
  return byte >= ZERO && byte <= 57;
}

function digitsEnd(buffer, i, end) {
  while (i < end && isDigit(buffer[i])) i++;
  return i;
}

// The fields of one line. One object is used again for every line: nothing is allocated for it.
class Fields {
  constructor() {
    this.starts = new Int32Array(7);
    this.ends = new Int32Array(7);
    this.count = 0;
    // What time() read. Numbers, since no BigInt is as quick; exact up to 2^53 seconds.
    this.seconds = 0;
    this.nanos = 0;
  }

  // A line that has more fields than any valid one has one too many here.
  split(buffer, start, end) {
    this.buffer = buffer;
    let count = 0;
    let i = start;
    while (count < 7) {
      while (i < end && isSpace(buffer[i])) i++;
      if (i === end) break;
      this.starts[count] = i;
      while (i < end && !isSpace(buffer[i])) i++;
      this.ends[count++] = i;
    }
    this.count = count;
  }

  length(index) {
    return this.ends[index] - this.starts[index];
  }

  // latin1: a character for each byte, so that any bytes come back as they are.
  text(index) {
    return this.buffer.latin1Slice(this.starts[index], this.ends[index]);
  }

  is(index, bytes) {
    const start = this.starts[index];
    if (this.ends[index] - start !== bytes.length) return false;
    for (let i = 0; i < bytes.length; i++) {
      if (this.buffer[start + i] !== bytes[i]) return false;
    }
    return true;
  }

  // Digits, optionally a point and digits; at most 18 before the point, leading zeros not counted.
  time(index) {
    return this.timeAt(this.starts[index], this.ends[index]);
  }

  timeAt(start, end) {
    const { buffer } = this;
    const whole = digitsEnd(buffer, start, end);
    if (whole === start) return false;
    let i = start;
    while (i < whole - 1 && buffer[i] === ZERO) i++;
    if (whole - i > 18) return false;
    let seconds = 0;
    for (; i < whole; i++) seconds = seconds * 10 + buffer[i] - ZERO;
    let nanos = 0;
    if (whole < end) {
      if (buffer[whole] !== POINT || whole + 1 === end || digitsEnd(buffer, whole + 1, end) !== end) {
        return false;
      }
      for (i = whole + 1; i < whole + 10; i++) nanos = nanos * 10 + (i < end ? buffer[i] - ZERO : 0);
    }
    this.seconds = seconds;
    this.nanos = nanos;
    return true;
  }

  // ISO 6709: two signed angles in decimal degrees.
  isPosition(index) {
    const end = this.ends[index];
    const longitude = this.angle(this.starts[index], end, 90);
    return longitude > 0 && this.angle(longitude, end, 180) === end;
  }

  angle(i, end, most) {
    const sign = this.buffer[i];
    if (i >= end || (sign !== PLUS && sign !== MINUS)) return -1;
    return this.number(i + 1, end, most);
  }

  isNumber(index, most) {
    return this.number(this.starts[index], this.ends[index], most) === this.ends[index];
  }

  isWhole(index, most) {
    return this.isNumber(index, most)
      && digitsEnd(this.buffer, this.starts[index], this.ends[index]) === this.ends[index];
  }

  // The end of digits, optionally with a point and digits, that are `most` at the most; -1 if they are not.
  number(i, end, most) {
    const { buffer } = this;
    const whole = digitsEnd(buffer, i, end);
    if (whole === i) return -1;
    let value = 0;
    for (; i < whole; i++) value = Math.min(value * 10 + buffer[i] - ZERO, 1000);
    if (value > most) return -1;
    if (whole === end || buffer[whole] !== POINT) return whole;
    const fraction = digitsEnd(buffer, whole + 1, end);
    if (fraction === whole + 1) return -1;
    for (i = whole + 1; value === most && i < fraction; i++) {
      if (buffer[i] !== ZERO) return -1;
    }
    return fraction;
  }
}

// Cuts what arrives into lines, and gives each to `take(buffer, start, end, isCut)`.
class Lines {
  constructor(take) {
    this.take = take;
    this.rest = null;
    // Whether this is the rest of a line that was too long, and given away.
    this.skips = false;
  }

  push(chunk) {
    let start = 0;
    if (this.rest !== null) {
      chunk = Buffer.concat([this.rest, chunk]);
      this.rest = null;
    }
    if (this.skips) {
      start = chunk.indexOf(LF) + 1;
      if (start === 0) return;
      this.skips = false;
    }
    let end = chunk.indexOf(LF, start);
    while (end !== -1) {
      this.give(chunk, start, end);
      start = end + 1;
      end = chunk.indexOf(LF, start);
    }
    // One more than a line has, since its last byte may be a CR.
    if (chunk.length - start > MAX_LINE + 1) {
      this.give(chunk, start, chunk.length);
      this.skips = true;
    } else if (start < chunk.length) {
      // A copy: the chunk is large, and the rest may stay for long.
      this.rest = Buffer.from(chunk.subarray(start));
    }
  }

  finish() {
    if (this.rest !== null) this.give(this.rest, 0, this.rest.length);
    this.rest = null;
  }

  give(buffer, start, end) {
    if (end > start && buffer[end - 1] === CR) end--;
    const isCut = end - start > MAX_LINE;
    this.take(buffer, start, isCut ? start + MAX_LINE : end, isCut);
  }
}

// Bytes that are written together. It grows and is used again; what is written is a copy.
class Output {
  constructor() {
    this.bytes = Buffer.allocUnsafeSlow(64 * 1024);
    this.length = 0;
  }

  room(count) {
    if (this.bytes.length - this.length >= count) return;
    const bytes = Buffer.allocUnsafeSlow(Math.max(2 * this.bytes.length, this.length + count));
    this.bytes.copy(bytes, 0, 0, this.length);
    this.bytes = bytes;
  }

  put(source, start, end) {
    this.room(end - start);
    const { bytes } = this;
    let at = this.length;
    // Fields are short: a loop is quicker than a call of copy().
    for (let i = start; i < end; i++) bytes[at++] = source[i];
    this.length = at;
  }

  byte(value) {
    this.room(1);
    this.bytes[this.length++] = value;
  }

  text(latin1) {
    this.room(latin1.length);
    this.length += this.bytes.latin1Write(latin1, this.length, latin1.length);
  }

  // A whole number, in at least `width` digits.
  number(value, width) {
    if (value > Number.MAX_SAFE_INTEGER) {
      this.text(String(BigInt(value)));
      return;
    }
    let digits = 1;
    for (let bound = 10; bound <= value; bound *= 10) digits++;
    if (digits < width) digits = width;
    this.room(digits);
    for (let i = this.length + digits - 1; i >= this.length; i--) {
      const rest = Math.floor(value / 10);
      this.bytes[i] = ZERO + value - rest * 10;
      value = rest;
    }
    this.length += digits;
  }

  copyFrom(start) {
    return Buffer.from(this.bytes.subarray(start, this.length));
  }

  take() {
    const bytes = this.copyFrom(0);
    this.length = 0;
    return bytes;
  }
}

module.exports = { Fields, Lines, Output };
