#!/bin/sh
# Rebuilds src/teiten/portal/static/vendor from the locked npm packages. Needs Node 20 and an npm registry.
set -eu
cd "$(dirname "$0")"
npm ci --ignore-scripts --no-audit --no-fund
node build.mjs
