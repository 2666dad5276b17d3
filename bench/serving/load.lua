-- What wrk sends and what it says afterwards: `wrk ... URL -- BODIES TOKEN [MEAN_DELAY_MS]`.
-- BODIES holds one body per line, sent in turn; `-` sends GETs. TOKEN may be `-`. With a delay each connection waits
-- between an answer and its next question, uniformly from nothing to twice the mean, so that the load stays given.

local requests, at = {}, 0

function init(args)
   local headers = {}
   if args[2] ~= "-" then headers["Authorization"] = "Bearer " .. args[2] end
   if args[1] == "-" then
      requests[1] = wrk.format("GET", nil, headers)
   else
      headers["Content-Type"] = "application/json"
      for line in io.lines(args[1]) do
         requests[#requests + 1] = wrk.format("POST", nil, headers, line)
      end
   end
   local mean = tonumber(args[3])
   if mean then
      math.randomseed(os.time() + at)
      function delay() return math.random(0, 2 * mean) end
   end
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function done(summary, latency, _)
   local e = summary.errors
   io.write(string.format(
      'SAID {"requests": %d, "seconds": %.6f, "bytes": %d, "errors": %d, "p50_us": %d, "p99_us": %d, "p999_us": %d}\n',
      summary.requests, summary.duration / 1e6, summary.bytes,
      e.connect + e.read + e.write + e.status + e.timeout,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
