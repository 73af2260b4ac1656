# The container's health check: exits with 0 if the server is ready. Python would take a fifth of a second each time.
# `timeout` ends it. The port is chosen as in config.py, and the values are what a server that has started accepted.
port=${SAGEMAKER_BIND_TO_PORT:-${AIP_HTTP_PORT:-$PORT}}
if [[ -z $port ]]; then
    port=8080
    key="http_port[\"']?[[:space:]]*:[[:space:]]*[\"']?([0-9_]+)"
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ ${line%%#*} =~ (^|[[:space:]{,\"\'])$key ]]; then
            port=${BASH_REMATCH[2]}
            break
        fi
    done < config.yaml
fi
port=${port//[!0-9]/}

exec 3<> "/dev/tcp/127.0.0.1/$port" || exit 1
printf 'GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$port" >&3
read -r _ status _ <&3
echo "the server at port $port answered ${status:-nothing}"
[[ $status == 200 ]]
