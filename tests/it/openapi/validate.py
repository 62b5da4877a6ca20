"""Validates an OpenAPI 3.1 document, and each of its examples against the schema beside it."""

import sys

import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry
from referencing.jsonschema import DRAFT202012

NAME = "urn:openapi"


def examples(node, path=""):
    """Each object that has both a schema and examples, with where it is."""
    if isinstance(node, dict):
        if "schema" in node:
            if "example" in node:
                yield path, node["schema"], node["example"]
            for name, example in node.get("examples", {}).items():
                yield f"{path}/{name}", node["schema"], example["value"]
        for name, member in node.items():
            yield from examples(member, f"{path}/{name}")
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from examples(item, f"{path}/{index}")


def absolute(node):
    """`node` with references into the whole document."""
    if isinstance(node, dict):
        return {name: NAME + member if name == "$ref" else absolute(member) for name, member in node.items()}
    return [absolute(item) for item in node] if isinstance(node, list) else node


with open(sys.argv[1], encoding="utf-8") as file:
    document = yaml.safe_load(file)
validate(document)
registry = Registry().with_resource(NAME, DRAFT202012.create_resource(document))
count = 0
for path, schema, example in examples(document):
    errors = list(Draft202012Validator(absolute(schema), registry=registry).iter_errors(example))
    if errors:
        sys.exit(f"the example at {path} does not match: {errors[0].message}")
    count += 1
if count < 20:
    sys.exit(f"only {count} examples were found")
