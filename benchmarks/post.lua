-- wrk's script: posts a file, over and over, and prints its figures as a line of JSON.
--   wrk -s post.lua URL -- BODY_FILE [HEADER VALUE]...
wrk.method = "POST"

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.body = file:read("*a")
  file:close()
  for at = 2, #args, 2 do
    wrk.headers[args[at]] = args[at + 1]
  end
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\nRESULT {"count": %d, "requests": %f, "median": %f, "p99": %f, "errors": %d}\n',
    summary.requests, summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
