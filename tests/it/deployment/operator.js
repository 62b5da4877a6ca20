// Validates documents against the Prometheus operator's own schemas. Reads a JSON list from the file that is named on the command
// line; writes the list of what is wrong.
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");

const models = path.join(process.env.NODE_PATH, "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index.js");

async function main() {
  // A package of modules only, which require() of older versions of Node cannot load.
  const kinds = await import(pathToFileURL(models));
  const faults = [];
  for (const document of JSON.parse(fs.readFileSync(process.argv[2], "utf8"))) {
    try {
      new kinds[document.kind](document).validate();
    } catch (error) {
      faults.push(`${document.kind}: ${error.message}`);
    }
  }
  console.log(JSON.stringify(faults));
}

main();
