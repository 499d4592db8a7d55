'use strict';
// One server of the herd: net sockets, what came together answered with one write, persistent links.
const net = require('node:net');
const { parseArgs } = require('node:util');
const { Herd } = require('./herd');

const { values } = parseArgs({
  options: {
    name: { type: 'string' },
    port: { type: 'string' },
    'link-port': { type: 'string' },
    peer: { type: 'string', multiple: true, default: [] },
    // It is always so.
    'only-memory': { type: 'boolean' },
  },
});
if (!values.name || !values.port || !values['link-port']) {
  console.error('--name, --port and --link-port are needed');
  process.exit(64);
}

const neighbours = values.peer.map((text) => {
  const [name, host, port] = text.split(/[=:]/);
  return { name, host, port: Number(port) };
});
const herd = new Herd(values.name, neighbours);
// allowHalfOpen: a client that shuts its sending side is answered.
const options = { allowHalfOpen: true, noDelay: true };

function listen(port, backlog, serve) {
  return new Promise((resolve, reject) => {
    const server = net.createServer(options, serve);
    server.on('error', reject);
    server.listen({ port: Number(port), host: '127.0.0.1', backlog }, resolve);
  });
}

Promise.all([
  listen(values.port, 1024, (socket) => herd.serveClient(socket)),
  listen(values['link-port'], 128, (socket) => herd.serveNeighbour(socket)),
]).then(() => {
  herd.links.forEach((link) => link.stayConnected());
  console.log('ready');
}, (failure) => {
  console.error(failure.message);
  process.exit(1);
});
