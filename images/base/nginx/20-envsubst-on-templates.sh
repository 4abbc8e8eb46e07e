#!/bin/sh
# Fills the templates of nginx with variables, as the official image does: each *.template of /etc/nginx/templates
# becomes a file of /etc/nginx/conf.d. Only variables that are set are replaced, so that nginx keeps its own `$host`;
# NGINX_ENVSUBST_FILTER, an expression that names match, narrows them.
set -e

from=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
to=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
[ -d "$from" ] || exit 0
if [ ! -w "$to" ]; then
  echo "$0: $from is there, but $to cannot be written"
  exit 0
fi
# shellcheck disable=SC2016  # the dollar is for envsubst
names=$(awk -v filter="${NGINX_ENVSUBST_FILTER:-}" \
  'BEGIN { for (name in ENVIRON) if (name ~ filter) printf "${%s} ", name }')
find "$from" -follow -type f -name "*$suffix" | while read -r template; do
  file=$to/${template#"$from"/}
  file=${file%"$suffix"}
  mkdir -p "$(dirname "$file")"
  envsubst "$names" <"$template" >"$file"
done
