"""Signs tokens with PyJWT: a JSON list of {claims, key, alg, headers} comes in, a list of tokens goes out."""

import json
import sys
import warnings

import jwt

# Short keys are part of what is asked.
warnings.simplefilter("ignore")
questions = json.load(sys.stdin)
json.dump([jwt.encode(q["claims"], q["key"], algorithm=q["alg"], headers=q["headers"]) for q in questions], sys.stdout)
