"""Helm's own library on our chart, and Kubernetes' own schemas on what it renders.

Reads a JSON list of questions, each {"chart", "values"} with values for one installation, and answers with a list of
{"lint": [...], "rendered": {template: [documents]}, "notes": "...", "faults": [...], "error": "..."}.
"""

import json
import sys

import helm_python
import kubernetes_validate
import yaml

# The oldest version that the chart allows, and the newest that the package has.
VERSIONS = ["1.27", "1.37"]
# These kinds are not Kubernetes' own, so it has no schema for them.
FOREIGN = "monitoring.coreos.com/"


def answer(question):
    chart, values = question["chart"], question["values"]
    report = helm_python.lint(chart, values, strict=True)
    found = {"lint": [m for m in report["messages"] if m["severity"] > 1] + report["errors"], "rendered": {}, "faults": []}
    try:
        with helm_python.Chart.load(chart) as loaded:
            files = loaded.render(values, name="demo", namespace="prod")
    except helm_python.errors.HelmError as error:
        return {"error": str(error), **found}
    for file, text in files.items():
        name = file.split("/")[-1]
        if name == "NOTES.txt":
            found["notes"] = text
            continue
        documents = [document for document in yaml.safe_load_all(text) if document]
        found["rendered"][name] = documents
        for document in documents:
            if document["apiVersion"].startswith(FOREIGN):
                continue
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except Exception as error:
                    found["faults"].append(f"{name}, Kubernetes {version}: {error}")
    return found


json.dump([answer(question) for question in json.load(sys.stdin)], sys.stdout)
