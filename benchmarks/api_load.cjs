// Drives one route with autocannon and prints what it measured as one line of JSON.
// Run with NODE_PATH where autocannon is installed; the only argument is JSON:
// {url, method, headers, body, paths, keyed, connections, seconds}
const autocannon = require("autocannon");
const { randomUUID } = require("node:crypto");

const order = JSON.parse(process.argv[2]);
const paths = order.paths;
let next = 0;

function setupRequest(request) {
  const changed = { ...request, path: paths[next++ % paths.length] };
  if (order.keyed) changed.headers = { ...request.headers, "idempotency-key": randomUUID() };
  return changed;
}

const request = { method: order.method, headers: order.headers, setupRequest };
if (order.body) request.body = JSON.stringify(order.body);
autocannon(
  {
    url: order.url,
    connections: order.connections,
    duration: order.seconds,
    sampleInt: 250,
    requests: [request],
  },
  (error, found) => {
    if (error) throw error;
    const { latency, statusCodeStats } = found;
    const statuses = Object.fromEntries(
      Object.entries(statusCodeStats).map(([status, { count }]) => [status, count]),
    );
    console.log(
      JSON.stringify({
        seconds: (found.finish - found.start) / 1000,
        statuses,
        errors: found.errors + found.timeouts,
        p50_ms: latency.p50,
        p95_ms: latency.p97_5, // the nearest one that it keeps, and not a smaller one
      }),
    );
  },
);
