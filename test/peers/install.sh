#!/usr/bin/env bash
# The real programs that the interop suite runs against, from Debian, when they are missing. Needs root then.
set -eu
declare -A package_of=(
  [dhtnode]=dhtnode [mosquitto]=mosquitto [mosquitto_pub]=mosquitto-clients [mosquitto_sub]=mosquitto-clients
  [ip]=iproute2 [sox]=sox [espeak-ng]=espeak-ng [openssl]=openssl [cc]=gcc [python3]=python3 [systemd-analyze]=systemd
)
missing=()
for program in "${!package_of[@]}"; do
  command -v "$program" >/dev/null 2>&1 || missing+=("${package_of[$program]}")
done
for library in libopus.so.0:libopus0 libasound.so.2:libasound2 libopendht-c.so.2:libopendht-c2; do
  /sbin/ldconfig -p | grep -q "${library%%:*}" || missing+=("${library#*:}")
done
/usr/bin/python3 -c 'import opendht' >/dev/null 2>&1 || missing+=(python3-opendht)
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing from Debian: ${missing[*]}"
[ "$(id -u)" -eq 0 ] || { echo "this needs root: sudo apt-get install ${missing[*]}" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
# A service that Debian starts by itself would sit on the ports of the tests.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
