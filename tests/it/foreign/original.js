// The cache of the Node original, with its own Redis client (node_redis 3): reads and writes a credential as the original does.
// Usage: `node original.js redis PORT` or `node original.js file PATH`. One request per line on stdin, one answer per line on stdout:
// {"get": KEY} or {"put": KEY, "value": TEXT, "ttl": SECONDS}.
const [kind, place] = process.argv.slice(2)
const {readFileSync, writeFileSync} = require('fs')
const seconds = () => Math.floor(Date.now() / 1000)

const caches = {
  redis() {
    const {promisify} = require('util')
    const client = require('redis').createClient({port: Number(place)})
    const [get, setex] = ['get', 'setex'].map(name => promisify(client[name]).bind(client))
    return {
      get: async key => JSON.parse(await get(key)),
      put: (key, value, ttl) => setex(key, ttl, JSON.stringify(value)),
    }
  },

  // The file is read once, and then written whole from memory.
  file() {
    let entries = {}
    try {
      entries = JSON.parse(readFileSync(place, 'utf-8'))
    } catch {
      // No file yet.
    }
    return {
      get: async key => (entries[key] && entries[key].__expires >= seconds() ? entries[key].value : null),
      put: async (key, value, ttl) => {
        entries[key] = {value, __expires: seconds() + ttl}
        writeFileSync(place, JSON.stringify(entries), 'utf-8')
      },
    }
  },
}

const cache = caches[kind]()
const answer = async ({get, put, value, ttl}) => (get ? cache.get(get) : cache.put(put, value, ttl).then(() => true))
let last = Promise.resolve()
const lines = require('readline').createInterface({input: process.stdin})
lines.on('line', line => {
  last = last.then(() => answer(JSON.parse(line))).then(found => console.log(JSON.stringify(found)))
})
lines.on('close', () => last.then(() => process.exit()))
