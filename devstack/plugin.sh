# The gpupool plug-in for DevStack: enable_plugin gpupool <repository>
#
# DevStack sources this file with the phase as arguments; its functions (iniset, run_process, ...) are at hand.

function install_gpupool {
    setup_develop "$GPUPOOL_DIR" "server,agent,mysql"
}

function configure_gpupool {
    sudo install -d -o "$STACK_USER" "$GPUPOOL_CONF_DIR" "$GPUPOOL_STATE_PATH"
    rm -f "$GPUPOOL_CONF"
    iniset "$GPUPOOL_CONF" DEFAULT debug "$ENABLE_DEBUG_LOG_LEVEL"
    iniset_rpc_backend gpupool "$GPUPOOL_CONF"
    iniset "$GPUPOOL_CONF" database connection "$(database_connection_url gpupool)"
    configure_keystone_authtoken_middleware "$GPUPOOL_CONF" gpupool
    configure_keystone_authtoken_middleware "$GPUPOOL_CONF" gpupool placement
    iniset "$GPUPOOL_CONF" agent drivers "$GPUPOOL_DRIVERS"
    iniset "$GPUPOOL_CONF" agent state_path "$GPUPOOL_STATE_PATH"
    iniset "$GPUPOOL_CONF" agent run_path "$GPUPOOL_STATE_PATH/run"
    # The agent is no root; container engines have to be told of the folder (podman --cdi-spec-dir).
    iniset "$GPUPOOL_CONF" agent cdi_path "$GPUPOOL_STATE_PATH/cdi"
    setup_logging "$GPUPOOL_CONF"
    write_uwsgi_config "$GPUPOOL_UWSGI_CONF" gpupool.api.wsgi:application /gpu-pool "" gpupool
}

function create_gpupool_accounts {
    create_service_user gpupool admin
    get_or_create_service gpupool gpu-pool "Accelerator pool"
    get_or_create_endpoint gpu-pool "$REGION_NAME" "$SERVICE_PROTOCOL://$SERVICE_HOST/gpu-pool"
}

function init_gpupool {
    recreate_database gpupool
    "$(get_python_exec_prefix)/gpupool-manage" --config-file "$GPUPOOL_CONF" db upgrade
}

function start_gpupool {
    local bin
    bin=$(get_python_exec_prefix)
    run_process gpupool-api "$bin/uwsgi --procname-prefix gpupool-api --ini $GPUPOOL_UWSGI_CONF"
    run_process gpupool-conductor "$bin/gpupool-conductor --config-file $GPUPOOL_CONF"
    run_process gpupool-agent "$bin/gpupool-agent --config-file $GPUPOOL_CONF"
}

function stop_gpupool {
    local name
    for name in gpupool-agent gpupool-conductor gpupool-api; do
        stop_process "$name"
    done
}

function gpupool_phase {
    case "$1 ${2:-}" in
        "stack install") install_gpupool ;;
        "stack post-config")
            configure_gpupool
            is_service_enabled keystone && create_gpupool_accounts
            init_gpupool
            ;;
        "stack extra") start_gpupool ;;
        "unstack ") stop_gpupool ;;
        "clean ")
            remove_uwsgi_config "$GPUPOOL_UWSGI_CONF" gpupool
            sudo rm -rf "$GPUPOOL_CONF_DIR" "$GPUPOOL_STATE_PATH"
            ;;
    esac
}

if is_service_enabled gpupool-api gpupool-conductor gpupool-agent; then
    gpupool_phase "$@"
fi
