"""Messages that `@provokes` does not name, and the tests that meet them."""

# Message: the test that provokes it, and the words of it that the test wants to hear.
ELSEWHERE: dict[str, tuple[str, str]] = {
    "the label … of the config … is damaged": (
        "host/swarm/test_swarm.py::test_no_number_gets_a_second_value",
        " of the config",
    ),
    "due, and their values come from programs that nobody has agreed to: …": (
        "host/swarm/test_stacks.py::test_what_is_due_and_comes_from_a_store_gets_what_that_has",
        "due, and their values come from programs that nobody has agreed to: ",
    ),
    "due, and the store still has the same value: …": (
        "host/swarm/test_stacks.py::test_what_is_due_and_comes_from_a_store_gets_what_that_has",
        "due, and the store still has the same value: ",
    ),
    "give --python or --typescript": (
        "host/apps/test_types.py::test_the_keys_of_one_service",
        "give --python or --typescript",
    ),
    "there is no schema to generate types from": (
        "host/apps/test_types.py::test_the_keys_of_one_service",
        "there is no schema to generate types from",
    ),
    "… mounts the external secret …, which only a Swarm could have": (
        "host/audit/test_audit.py::test_a_secret_that_compose_cannot_deliver_is_a_finding",
        " mounts the external secret ",
    ),
    "… is read_only, so Compose cannot copy the secret … into it": (
        "host/audit/test_audit.py::test_a_secret_that_compose_cannot_deliver_is_a_finding",
        " is read_only, so Compose cannot copy the secret ",
    ),
    # Docker's plugin, and the provider of Compose.
    "docker … does not take …; use a context, DOCKER_CERT_PATH or ssh://": (
        "host/apps/test_docker_plugin.py::test_an_option_of_docker_that_cannot_be_followed_is_refused",
        " does not take ",
    ),
    "… was not written by manage-secrets": (
        "host/apps/test_docker_plugin.py::test_somebody_elses_plugin_stays",
        "was not written by manage-secrets",
    ),
    "the provider has no option …": (
        "host/apps/test_docker_plugin.py::test_a_provider_is_sure_which_project_it_serves",
        "the provider has no option ",
    ),
    "a provider is started for one service": (
        "host/apps/test_docker_plugin.py::test_a_provider_is_sure_which_project_it_serves",
        "a provider is started for one service",
    ),
    "cannot tell which project … belongs to: it is not the one of …": (
        "host/apps/test_docker_plugin.py::test_a_provider_is_sure_which_project_it_serves",
        "cannot tell which project ",
    ),
    "cannot enter the folder …: …": (
        "host/apps/test_docker_plugin.py::test_a_provider_is_sure_which_project_it_serves",
        "cannot enter the folder ",
    ),
    # Compose projects.
    "… is damaged": ("host/migrate/test_adopt.py::test_what_somebody_changed_is_not_lost_unasked", " is damaged"),
    "differs from what migrate would write now: …": (
        "host/migrate/test_adopt.py::test_what_somebody_changed_is_not_lost_unasked",
        "differs from what migrate would write now: ",
    ),
    "there is nothing to undo": (
        "host/migrate/test_adopt.py::test_what_somebody_changed_is_not_lost_unasked",
        "there is nothing to undo",
    ),
    "changed since it was adopted: …": (
        "host/migrate/test_adopt.py::test_what_somebody_changed_is_not_lost_unasked",
        "changed since it was adopted: ",
    ),
    "… is given twice, and takes one value": (
        "host/compose/test_chosen_files.py::test_an_option_that_takes_one_value_is_not_given_two",
        " is given twice, and takes one value",
    ),
    "docker compose config refuses …: …": (
        "host/migrate/test_migrate_forms.py::test_a_refusal_says_why_and_writes_nothing",
        "docker compose config refuses ",
    ),
    "it stays as it is, with … in plain text: …": (
        "host/migrate/test_migrate_forms.py::test_a_service_that_would_change_stays_and_the_others_go_on",
        "it stays as it is, with ",
    ),
    "it stays in …: … is made from it": (
        "host/migrate/test_migrate_forms.py::test_what_stays_keeps_its_parts",
        " is made from it",
    ),
    "it holds a password that … have in common, so it is not known which it follows": (
        "host/migrate/test_composed.py::test_a_value_inside_another_is_known_again",
        "have in common, so it is not known which it follows",
    ),
    "its env_file gives it secrets that … does not read: …": (
        "host/migrate/test_migrate_forms.py::test_a_database_with_a_shared_env_file_is_said",
        "its env_file gives it secrets that ",
    ),
    # The shim.
    "the line is longer than … characters": (
        "shim/test_bombs.py::test_a_schema",
        "the line is longer than ",
    ),
    "there are more than … keys": (
        "shim/test_bombs.py::test_a_schema",
        "there are more than ",
    ),
    "there are more than … references": (
        "shim/test_bombs.py::test_a_template",
        "there are more than ",
    ),
    "it would be longer than … bytes": (
        "shim/test_bombs.py::test_a_template",
        "it would be longer than ",
    ),
    "all composed values together are longer than … bytes": (
        "shim/test_bombs.py::test_a_schema",
        "all composed values together are longer than",
    ),
    "is longer than the … bytes that a pattern can be tried on": (
        "shim/test_bombs.py::test_a_value",
        "bytes that a pattern can be tried on",
    ),
    "cannot be matched in time: the schema's pattern is too complex": (
        "shim/test_bombs.py::test_a_schema",
        "cannot be matched in time",
    ),
    "--keep-caps works only with --user": (
        "shim/test_capabilities.py::test_what_cannot_be_kept_is_refused",
        "--keep-caps works only with --user",
    ),
    "--keep-caps names an unknown capability": (
        "shim/test_capabilities.py::test_what_cannot_be_kept_is_refused",
        "--keep-caps names an unknown capability",
    ),
    "--keep-caps: the container has no … to keep": (
        "shim/test_capabilities.py::test_what_cannot_be_kept_is_refused",
        "--keep-caps: the container has no ",
    ),
    "--keep-caps: the kernel passes on no capabilities: …": (
        "shim/test_capabilities.py::test_what_cannot_be_kept_is_refused",
        "--keep-caps: the kernel passes on no capabilities: ",
    ),
    "--user: capabilities remain that nobody asked for": (
        "shim/test_capabilities.py::test_a_kernel_that_takes_nothing_away_starts_nothing",
        "--user: capabilities remain that nobody asked for",
    ),
    "--render: the path … goes through a link that …": (
        "shim/test_deliver_attacked.py::test_a_link_of_a_stranger_is_not_followed_to_a_rendered_file",
        "goes through a link that ",
    ),
    "… cannot be removed: …": (
        "shim/test_deliver_attacked.py::test_a_copy_that_cannot_be_removed_does_not_change_the_exit_code",
        " cannot be removed: ",
    ),
    "nothing provides …, and … is there": (
        "shim/test_strays.py::test_a_file_that_was_probably_meant",
        "nothing provides ",
    ),
    "… more files that nothing asks for are left alone": (
        "shim/test_strays.py::test_many_files_that_nobody_asked_for",
        " more files that nothing asks for are left alone",
    ),
    "the secrets root … is a file, not a folder": (
        "shim/test_strays.py::test_a_secret_that_is_mounted_over_the_root",
        " is a file, not a folder",
    ),
    "… is left alone: … changes what programs load": (
        "shim/test_strays.py::test_a_protected_name_that_an_option_asks_for",
        " is left alone: ",
    ),
    "there is no folder …, which is named as a secrets root": (
        "shim/test_strays.py::test_a_named_root_that_is_not_there",
        "there is no folder ",
    ),
    "… and … give … two values; the first is taken": (
        "shim/test_resolve.py::test_the_first_root_wins",
        " two values; the first is taken",
    ),
    "… is left alone: … is set, and names another file": (
        "shim/test_profiles.py::test_an_images_own_pointers_are_taken_wherever_they_lead",
        " is set, and names another file",
    ),
    "…; only files that are named are read from it": (
        "shim/test_strays.py::test_a_root_that_cannot_be_listed",
        "only files that are named are read from it",
    ),
    "the secrets root … cannot be listed: …": (
        "shim/test_strays.py::test_a_root_that_cannot_be_listed",
        " cannot be listed",
    ),
    "…: all variables together exceed the kernel's limit for one command": (
        "shim/test_strays.py::test_all_files_together_are_too_large_for_one_command",
        "exceed the kernel's limit for one command",
    ),
    "the engine lists … without an ID, so it cannot be inspected": (
        "host/swarm/test_strange_engine.py::test_what_has_no_id_is_left_out_and_said",
        " without an ID, so it cannot be inspected",
    ),
    "the engine's answer lacks …, which its API requires": (
        "host/swarm/test_strange_engine.py::test_what_must_be_there_and_is_not",
        "the engine's answer lacks ",
    ),
    "…: all secrets together are longer than … bytes": (
        "shim/test_bombs.py::test_many_large_files",
        "all secrets together are longer than",
    ),
    "… is a link to nothing; nothing asks for …, and it is left alone": (
        "shim/test_strays.py::test_a_file_that_nobody_asked_for_never_stops_a_start",
        "left alone",
    ),
    "--pre-root: started as uid …, which is not root; nothing is run": (
        "shim/test_init.py::test_what_only_root_can_do_is_left_out_for_others",
        "which is not root; nothing is run",
    ),
    "…; nothing asks for …, and it is left alone": (
        "shim/test_strays.py::test_a_file_that_nobody_asked_for_never_stops_a_start",
        "left alone",
    ),
    "…; the environment's value is taken": (
        "shim/test_strays.py::test_a_folder_where_the_environment_has_the_value",
        "the environment's value is taken",
    ),
    "… has quotes or white space around its path; they are removed": (
        "shim/test_strays.py::test_a_pointer_in_quotes",
        " has quotes or white space around its path",
    ),
    "… has quotes or white space around its value; they are removed": (
        "shim/test_options.py::test_quotes_around_a_variable_are_removed",
        " has quotes or white space around its value",
    ),
    "--user: the capabilities cannot be given up: …": (
        "shim/test_messages_kernel.py::test_a_filter_of_system_calls_has_its_words",
        "the capabilities cannot be given up",
    ),
    "…… holds …, which has not been resolved": (
        "shim/test_doubts.py::test_a_reference_that_nobody_resolved",
        "which has not been resolved",
    ),
    "…… holds lines of KEY=value, and is passed on as one value": (
        "shim/test_doubts.py::test_a_likely_mistake_is_a_warning",
        "lines of KEY=value",
    ),
    "…… begins with ……, and that is part of the value": (
        "shim/test_doubts.py::test_a_likely_mistake_is_a_warning",
        "begins with ",
    ),
    "…… is in quotes, and they are part of the value": (
        "shim/test_doubts.py::test_a_likely_mistake_is_a_warning",
        "in quotes",
    ),
    "…… holds the path of an existing file, not its content": (
        "shim/test_doubts.py::test_a_likely_mistake_is_a_warning",
        "holds the path of an existing file",
    ),
    "…… holds a file: URL, not what is in the file": (
        "shim/test_doubts.py::test_a_likely_mistake_is_a_warning",
        "a file: URL",
    ),
    "…… begins or ends with white space, which is part of the value": (
        "shim/test_doubts.py::test_a_likely_mistake_is_a_warning",
        "white space",
    ),
    "…… holds a reference (${…} or {{ … }}) that has not been resolved": (
        "shim/test_doubts.py::test_a_likely_mistake_is_a_warning",
        "a reference",
    ),
    "… is left alone: it …": (
        "shim/test_folder.py::test_a_schema_that_another_could_have_planted_is_left_alone",
        " is left alone: it ",
    ),
    "is a link": (
        "shim/test_folder.py::test_a_schema_that_another_could_have_planted_is_left_alone",
        "is a link",
    ),
    "belongs to uid …": (
        "shim/test_folder.py::test_a_schema_that_another_could_have_planted_is_left_alone",
        "belongs to uid ",
    ),
    "belongs to uid …, which is everybody whom this user namespace does not know": (
        "shim/test_folder.py::test_in_a_user_namespace_nobody_is_not_ourselves",
        "which is everybody whom this user namespace does not know",
    ),
    "… belongs to somebody whom this user namespace does not know": (
        "host/store/test_vault.py::test_what_belongs_to_nobody_that_a_namespace_knows_is_nobodys",
        "belongs to somebody whom this user namespace does not know",
    ),
    "belongs to uid …, and others can write it (mode …)": (
        "shim/test_folder.py::test_a_schema_that_another_could_have_planted_is_left_alone",
        ", and others can write it (mode ",
    ),
    "is in a folder that …": (
        "shim/test_folder.py::test_a_schema_that_another_could_have_planted_is_left_alone",
        "is in a folder that ",
    ),
    "cannot start a process: …": (
        "shim/test_init.py::test_a_fork_that_fails_is_the_worlds_fault",
        "cannot start a process",
    ),
    "…: @deliver=file needs a tmpfs, and none of /dev/shm, /run, /tmp is a writable one…": (
        "shim/test_deliver.py::test_without_a_tmpfs_it_is_refused",
        "needs a tmpfs",
    ),
    "out of memory": ("shim/test_frozen_build.py::test_too_little_memory_is_said", "out of memory"),
    "internal error: … at …": ("shim/test_canary.py::test_a_bug_says_where_and_no_value", "internal error: "),
    "the secrets changed, and the new set cannot be used: …": (
        "shim/test_init.py::test_an_invalid_new_set_changes_nothing",
        "the secrets changed, and the new set cannot be used: ",
    ),
    "cannot become user …: this container's user namespace has no …": (
        "shim/test_user.py::test_a_user_namespace_has_words_of_its_own",
        "user namespace has no ",
    ),
    "cannot become user …: this container's user namespace does not allow groups to change": (
        "shim/test_user.py::test_a_user_namespace_has_words_of_its_own",
        "user namespace does not allow groups to change",
    ),
    "…: user … cannot write to its folder, and without CHOWN root cannot give the file away": (
        "shim/test_deliver.py::test_the_missing_capability_is_named",
        "cannot write to its folder",
    ),
    "… is left alone: a file of that name holds many values": (
        "shim/test_members.py::test_an_env_file_becomes_no_variable_unasked",
        " is left alone: a file of that name holds many values",
    ),
    "… has no member …": ("shim/test_members.py::test_what_cannot_be_taken_apart_is_said", " has no member "),
    "…: … is neither JSON nor lines of KEY=value, so it has no member …": (
        "shim/test_members.py::test_what_cannot_be_taken_apart_is_said",
        " is neither JSON nor lines of KEY=value, so it has no member ",
    ),
    "… is neither JSON nor lines of KEY=value, so it has no member …": (
        "shim/test_members.py::test_a_composed_value_of_what_has_no_members",
        " is neither JSON nor lines of KEY=value, so it has no member ",
    ),
    "…: its file: URL does not name a path on this machine": (
        "shim/test_members.py::test_a_file_url_that_leads_nowhere",
        "does not name a path on this machine",
    ),
    "the reference in line … names no member": (
        "shim/test_members.py::test_a_reference_without_a_member",
        " names no member",
    ),
    "@from takes the name of a file in a secrets root, and one of its members": (
        "shim/test_members.py::test_a_from_that_says_too_little",
        "@from takes the name of a file",
    ),
    "…'s … has no command to start": (
        "shim/test_profiles.py::test_an_entrypoint_without_its_command_is_refused",
        "has no command to start",
    ),
    "… refuses to start with …_FILE, and @deliver=… would set it": (
        "shim/test_profiles.py::test_rabbitmq_is_never_given_what_it_refuses",
        "refuses to start with ",
    ),
    "… and … are both set, and their values differ; keep one": (
        "shim/test_profiles.py::test_two_names_for_one_thing_that_differ_are_refused",
        "are both set, and their values differ; keep one",
    ),
    "--user …: … must start as root, and drops to its own user itself": (
        "shim/test_profiles.py::test_a_user_in_front_of_an_entrypoint_that_wants_root",
        " must start as root, and drops to its own user itself",
    ),
    "--render: … drops to its own user, who cannot read the rendered file": (
        "shim/test_profiles.py::test_a_rendered_file_is_for_the_user_that_the_server_becomes",
        "drops to its own user, who cannot read the rendered file",
    ),
    "… contains non-ASCII characters, which … does not accept from its environment": (
        "shim/test_profiles.py::test_rabbitmq_takes_ascii_alone",
        "contains non-ASCII characters",
    ),
    "… is started without …, and only that reads …": (
        "shim/test_profiles.py::test_a_server_without_the_entrypoint_that_reads_its_secrets",
        "is started without ",
    ),
    "… does not read the environment: … does not reach it": (
        "shim/test_profiles.py::test_redis_reads_no_environment",
        "does not read the environment: ",
    ),
    # .env files.
    "there is a CR inside the quotes, and it stays in the value": (
        "host/env/test_envfile.py::test_what_is_likely_to_surprise_is_said_without_the_value",
        "there is a CR inside the quotes, and it stays in the value",
    ),
    "${ begins a reference that has no valid name, operator or end": (
        "host/env/test_envfile.py::test_a_file_with_a_mistake_is_refused_by_line_and_without_the_value",
        "begins a reference",
    ),
    "a variable it requires (${NAME?message}) is not set": (
        "host/env/test_envfile.py::test_a_file_with_a_mistake_is_refused_by_line_and_without_the_value",
        "is not set",
    ),
    "the shell sets it too, and for ${...} in a Compose file the shell's value would be used": (
        "host/env/test_envfile.py::test_a_shell_that_sets_the_key_otherwise_is_mentioned",
        "the shell sets it too",
    ),
    # Backups.
    "gpg has no public key for …": (
        "host/backup/test_backup.py::test_keys_that_are_not_there_are_named",
        "gpg has no public key for ",
    ),
    "it is encrypted to the key …, and gpg has no secret key for it": (
        "host/backup/test_backup.py::test_keys_that_are_not_there_are_named",
        "it is encrypted to the key",
    ),
    "nothing proves that the key of … is theirs": (
        "host/backup/test_backup.py::test_a_key_that_nobody_vouches_for_must_be_named_by_its_fingerprint",
        "nothing proves that the key of ",
    ),
    "the Swarm and the folder hold different values: …": (
        "host/backup/test_backup_swarm.py::test_a_value_that_differs_from_the_folders_is_said",
        "the Swarm and the folder hold different values: ",
    ),
    "what was read back is not what the Swarm was given: …": (
        "host/backup/test_backup_swarm.py::test_an_image_that_lies_is_caught",
        "is not what the Swarm was given: ",
    ),
    "without a value, because a template fills them in: …": (
        "host/swarm/test_strange_engine.py::test_a_backup_offers_no_way_to_read_a_template_back",
        "without a value, because a template fills them in: ",
    ),
    "without a value, because they are only in the Swarm: …": (
        "host/backup/test_backup_swarm.py::test_without_being_asked_the_backup_says_what_it_lacks",
        "without a value, because they are only in the Swarm: ",
    ),
    "values would travel … (…)": (
        "host/swarm/test_privacy.py::test_no_value_is_sent_or_read_over_an_open_connection",
        "values would travel ",
    ),
    "…:…: this expands beyond what a Compose file can need": (
        "host/test_bombs.py::test_a_compose_file_that_would_never_end_is_refused",
        "this expands beyond what a Compose file can need",
    ),
    "the references make the file larger than any program could need": (
        "host/test_bombs.py::test_an_env_file_that_blows_up_is_refused",
        "the references make the file larger than any program could need",
    ),
    "the value with the $ is longer than a program can receive": (
        "host/test_bombs.py::test_references_in_references_end",
        "is longer than a program can receive",
    ),
    "the references are nested too deeply": (
        "host/test_bombs.py::test_references_in_references_end",
        "the references are nested too deeply",
    ),
    "the references make it longer than a program can receive": (
        "host/test_bombs.py::test_an_env_file_that_blows_up_is_refused",
        "the references make it longer than a program can receive",
    ),
    "nobody vouches for …: anyone who knows the public key could have made it": (
        "host/backup/test_backup.py::test_a_backup_that_anybody_could_have_made_is_said_to_be_one",
        ": anyone who knows the public key could have made it",
    ),
    "gpg does not sign with …, so nobody vouches for this backup": (
        "host/backup/test_backup.py::test_a_key_that_does_not_sign_stops_no_backup",
        ", so nobody vouches for this backup",
    ),
    "the passphrase …: whoever gets the backup can guess it": (
        "host/backup/test_backup.py::test_a_passphrase_that_can_be_guessed_is_refused",
        ": whoever gets the backup can guess it",
    ),
    "this looks like a stack file (…), and the new files are for docker compose only": (
        "host/migrate/test_migrate.py::test_a_stack_file_is_known_for_one",
        "this looks like a stack file (",
    ),
    "… mounts the file, too, and keeps the old value until it is started again": (
        "host/swarm/test_projects.py::test_only_containers_that_have_our_secrets_count",
        " mounts the file, too, and keeps the old value",
    ),
    "mounts … of …, and not …": (
        "host/swarm/test_stacks.py::test_each_stack_has_its_values",
        ", and not ",
    ),
    "the backup contains nothing of the stack …": (
        "host/backup/test_backup.py::test_one_key_comes_back_alone",
        "the backup contains nothing of the stack ",
    ),
    "… and … of the backup would be one secret in …": (
        "host/backup/test_backup.py::test_two_values_for_one_place_are_refused_before_anything_is_written",
        " of the backup would be one secret",
    ),
    "… is signed by …, and nothing proves that this key is theirs": (
        "host/backup/test_backup.py::test_a_signature_of_a_key_that_nobody_vouches_for_is_said_to_be_one",
        ", and nothing proves that this key is",
    ),
    "… belongs to somebody else, who could choose what root writes": (
        "host/migrate/test_adopt.py::test_root_puts_nothing_back_that_somebody_else_may_have_kept",
        "belongs to somebody else, who could choose what root writes",
    ),
    "trying a passphrase would take more than … GiB of memory": (
        "host/backup/test_backup.py::test_a_passphrase_that_is_made_costly_to_try_is_not_tried",
        "trying a passphrase would take more than ",
    ),
    "… …, and is not used": (
        "host/test_validate.py::test_a_key_of_fingerprints_that_others_know_is_named_and_mended",
        ", and is not used",
    ),
    "the backup has no …": ("host/backup/test_backup.py::test_one_key_comes_back_alone", "the backup has no "),
    **{
        message: ("host/swarm/test_sync.py::test_every_hint_mends_what_it_was_about", words)
        for message, words in {
            "is newer than the file, which has …": "is newer than the file, which has ",
            "names …, which is not in the Swarm": ", which is not in the Swarm",
            "names … itself, and … is the newest: the next stack deploy would go back to it": "would go back",
            "… has no version …": " has no version ",
            "older than the newest version: …": "older than the newest version: ",
            "--to works with one key, and without --from-files and --to-files": "--to works with one key, and",
            "--from-files and --to-files cannot be used together": "--to-files cannot be used together",
        }.items()
    },
    **{
        message: ("host/swarm/test_adopt.py::test_what_others_made_is_taken_over", words)
        for message, words in {
            "mounts …, which this tool did not make": ", which this tool did not make",
            "… is newer than what services mount, and stays as it is": " is newer than what services mount, and stays",
            "there is no secret of another tool called …": "there is no secret of another tool called ",
            "a template fills in …, which cannot be read back": "a template fills in ",
            "the name … cannot become a key": " cannot become a key",
        }.items()
    },
    # Stacks and projects.
    "due in other stacks, and not rotated: …": (
        "host/swarm/test_stacks.py::test_a_command_is_about_one_stack_and_says_so",
        "due in other stacks, and not rotated: ",
    ),
    "… belongs to another user, and is left alone": (
        "host/swarm/test_stacks.py::test_what_is_due_in_compose_projects",
        "belongs to another user",
    ),
    "cannot look into …: …": (
        "host/swarm/test_stacks.py::test_what_is_due_in_compose_projects",
        "cannot look into ",
    ),
    # The Swarm, and what talks to an engine.
    "cannot …: this engine is not a Swarm manager, or its Swarm is locked": (
        "test_trouble.py::test_an_engine_in_trouble_ends_with_111",
        "is not a Swarm manager",
    ),
    **{
        f"cannot …: {meaning}": ("test_trouble.py::test_why_an_engine_manages_no_swarm", words)
        for meaning, words in {
            "this engine is not in a Swarm": "is not in a Swarm",
            "this engine is a worker of its Swarm": "is a worker of its Swarm",
            "this manager has no connection to its Swarm": "has no connection to its Swarm",
            "the Swarm is locked": "is locked",
        }.items()
    },
    "cannot …: the Swarm has no leader that more than half of its managers can reach": (
        "host/swarm/test_lost_nodes.py::test_what_an_engine_passes_on_is_said_in_words",
        "the Swarm has no leader that more than half of its managers can reach",
    ),
    "the backup contains nothing about a Swarm: …": (
        "host/swarm/test_strange_engine.py::test_a_worker_shows_nothing_of_its_swarm_and_nobody_takes_that_for_nothing",
        "the backup contains nothing about a Swarm: ",
    ),
    "cannot …: the engine at … answers with something that its API does not have there": (
        "host/swarm/test_strange_engine.py::test_one_strange_container_or_image_does_not_end_an_audit",
        "answers with something that its API does not have there",
    ),
    "… belongs to the stack …": (
        "host/swarm/test_adopt.py::test_what_others_made_is_taken_over",
        " belongs to the stack ",
    ),
    "cannot …: a proxy before the engine forbids it": (
        "host/swarm/test_strange_engine.py::test_a_page_is_the_word_of_a_proxy",
        "a proxy before the engine forbids it",
    ),
    "cannot …: a page comes back, with the HTTP status …, and no answer of an engine": (
        "host/swarm/test_strange_engine.py::test_a_page_is_the_word_of_a_proxy",
        "a page comes back, with the HTTP status ",
    ),
    "… is not as Docker writes it": (
        "host/swarm/test_endpoint.py::test_a_config_that_the_sdk_trips_over_is_named",
        "is not as Docker writes it",
    ),
    "…; what runs is left out": (
        "host/swarm/test_strange_engine.py::test_what_runs_cannot_be_listed_and_list_says_so",
        "; what runs is left out",
    ),
    "cannot …: docker answers with something that nobody can read": (
        "host/test_docker_cli.py::test_a_client_that_answers_with_anything_is_said_to",
        "nobody can read",
    ),
    "cannot …: the engine at … does not answer (…)": (
        "test_trouble.py::test_an_engine_in_trouble_ends_with_111",
        "does not answer",
    ),
    "empty, which the Swarm does not allow: …; a line break is stored instead": (
        "host/swarm/test_swarm.py::test_an_empty_value_reaches_a_service_as_empty",
        "empty, which the Swarm does not allow: ",
    ),
    "these were made with a different key or salt, so they cannot be compared: …": (
        "host/swarm/test_swarm.py::test_another_salt_is_not_taken_for_another_value",
        "a different key or salt",
    ),
    "the Swarm has secrets of these names that this tool did not create: …; nothing was created": (
        "host/swarm/test_swarm.py::test_a_foreign_secret_of_that_name_is_left_alone",
        "this tool did not create",
    ),
    "… of its env_file holds the value of … in plain text": (
        "host/migrate/test_literals.py::test_a_variable_of_an_env_file_with_the_value_of_a_secret_is_found",
        " of its env_file holds the value of ",
    ),
    "… holds the value of … in plain text": (
        "host/migrate/test_migrate_forms.py::test_a_section_of_the_persons_own_that_keeps_a_value_is_named",
        " holds the value of ",
    ),
    "services.….environment.… holds the value of … in plain text": (
        "host/migrate/test_literals.py::test_who_has_what_stays_in_plain_text_is_named",
        " holds the value of ",
    ),
    # Rotations.
    "not in the Swarm: …": ("host/rotate/test_rotate.py::test_every_refusal_names_the_way_out", "not in the Swarm: "),
    "… is in use already, and there is no earlier version of …": (
        "host/rotate/test_swarm_plan.py::test_what_was_taken_back_by_hand_is_named_where_no_version_is_earlier",
        " is in use already, and there is no earlier version of ",
    ),
    "created in the meantime, with another version of …: …": (
        "host/rotate/test_swarm_plan.py::test_a_service_that_came_during_a_rotation_with_the_version_that_is_left_is_named",
        "created in the meantime, with another version of ",
    ),
    "there is no earlier version of …": (
        "host/rotate/test_rotate.py::test_history_and_rollback",
        "no earlier version of",
    ),
    "… does not come up with the new version: …": (
        "host/rotate/test_rotate.py::test_a_value_that_does_not_work_is_taken_back",
        "does not come up with the new version",
    ),
    "a rotation of … is under way, begun on … at …": (
        "host/rotate/test_rotate_crash.py::test_two_operators_at_once",
        "is under way",
    ),
    "the old value is back everywhere: …": (
        "host/rotate/test_rotate_compose.py::test_a_value_that_no_service_comes_up_with_goes_back",
        "the old value is back everywhere",
    ),
    "… does not run properly with the new value": (
        "host/rotate/test_rotate_compose.py::test_a_signal_that_ends_the_service_is_said",
        " does not run properly with the new value",
    ),
    "… came up with the new value, and then failed": (
        "host/rotate/test_rotate_compose.py::test_a_service_that_fails_once_it_is_up_goes_back",
        " came up with the new value, and then failed",
    ),
    "… has a different value of … from the file's": (
        "host/rotate/test_rotate_compose.py::test_a_service_that_takes_the_value_from_elsewhere_goes_back",
        " from the file's",
    ),
    "cannot …: …": (
        "host/rotate/test_rotate_compose.py::test_a_service_that_comes_up_with_neither_value_is_said_and_resumed",
        "cannot ",
    ),
    "cannot …: the engine does not answer": (
        "host/rotate/test_rotate_compose.py::test_an_engine_that_goes_away_leaves_what_can_be_resumed",
        "the engine does not answer",
    ),
    "… has changed in the meantime": (
        "host/rotate/test_rotate_compose.py::test_what_rotations_keep_is_no_secret_to_anybody_else",
        "has changed in the meantime",
    ),
    "another run is writing to …": (
        "host/rotate/test_rotate_compose.py::test_two_at_once_are_refused",
        "another run is writing",
    ),
    "… in … refuses: …": ("host/rotate/test_rotate_with.py::test_mariadb_gets_the_hash_of_the_new_password", "refuses"),
    "…: … … ended with …": (
        "host/rotate/test_rotate_with.py::test_a_command_is_told_the_step_and_gets_the_values_on_stdin",
        "ended with ",
    ),
    "…: … has no aclfile, and forgets the new password when it restarts": (
        "host/rotate/test_rotate_with.py::test_redis_saves_its_users_where_it_can_and_it_is_said_where_not",
        "forgets the new password when it restarts",
    ),
    "several services are called …: …": (
        "host/rotate/test_rotate_with.py::test_two_services_of_one_name_are_not_mistaken",
        "several services are called ",
    ),
    "no container of the service … runs on this node": (
        "host/rotate/test_rotate_with.py::test_a_role_of_postgres_gets_its_new_password_and_back",
        "no container of the service ",
    ),
    # Migration.
    "no service gets it": (
        "host/migrate/test_migrate.py::test_no_value_is_shown_however_it_is_written",
        "no service gets it",
    ),
    "it stays in plain text: …": (
        "host/migrate/test_migrate.py::test_no_value_is_shown_however_it_is_written",
        "it stays in plain text: ",
    ),
    "it mounts … and may read the values there": (
        "host/migrate/test_migrate.py::test_what_refers_to_a_secret_holds_it_wherever_it_is_written",
        "may read the values there",
    ),
    "already there, and different: …": (
        "host/migrate/test_migrate.py::test_nothing_is_overwritten_unasked_and_a_second_run_changes_nothing",
        "already there, and different",
    ),
    "these no longer hold the value that the project has: …": (
        "host/migrate/test_migrate.py::test_nothing_is_overwritten_unasked_and_a_second_run_changes_nothing",
        "these no longer hold the value",
    ),
    # The platform is faked there: only Windows has icacls.
    "cannot restrict … to … with icacls": (
        "host/store/test_vault.py::test_a_folder_that_cannot_be_restricted_is_not_written_to",
        "cannot restrict ",
    ),
    # Reading values back from a Swarm.
    "cannot read …: cat ended with … in the helper task": (
        "host/backup/test_backup_swarm.py::test_an_image_whose_cat_fails_is_said",
        ": cat ended with ",
    ),
    "the helper task stays on the network …": (
        "host/backup/test_backup_swarm.py::test_nothing_is_read_where_a_network_is_left",
        "the helper task stays on the network ",
    ),
    # Rotation, where an engine must take part.
    "another release of manage-secrets began a rotation here": (
        "host/rotate/test_rotate_refused.py::test_a_plan_of_another_release_is_left_alone",
        "another release of manage-secrets began a rotation here",
    ),
    "… did not come up within … s": (
        "host/rotate/test_rotate_refused.py::test_a_service_that_never_becomes_healthy_goes_back",
        " did not come up within ",
    ),
    "… came up with the new version, and then failed: …": (
        "host/rotate/test_rotate_refused.py::test_a_service_that_fails_once_it_is_up_goes_back",
        " came up with the new version, and then failed: ",
    ),
    "… runs with a different value of … than the new version has": (
        "host/rotate/test_rotate_refused.py::test_a_service_that_runs_with_another_value_goes_back",
        " than the new version has",
    ),
    "taking it back failed too: …": (
        "host/swarm/test_lost_nodes.py::test_tasks_that_end_neither_forward_nor_back_keep_the_rotation_open",
        "taking it back failed too: ",
    ),
    "…: its old tasks did not end within … s": (
        "host/swarm/test_lost_nodes.py::test_tasks_that_end_neither_forward_nor_back_keep_the_rotation_open",
        ": its old tasks did not end within ",
    ),
    "another rotation has just ended": (
        "host/rotate/test_rotate_raced.py::test_the_other_ends_between_the_look_at_it_and_the_lock",
        "another rotation has just ended",
    ),
    "another run has just taken this rotation over": (
        "host/rotate/test_rotate_raced.py::test_the_other_takes_over_first_what_a_dead_run_left",
        "another run has just taken this rotation over",
    ),
    "another run has taken this rotation over": (
        "host/rotate/test_rotate_raced.py::test_the_other_goes_on_with_what_we_would_take_back",
        "another run has taken this rotation over",
    ),
    "interrupted while services were moving": (
        "host/rotate/test_rotate_crash.py::test_a_stop_while_services_move_says_how_it_goes_on",
        "interrupted while services were moving",
    ),
    "… has a different value of … from the file's, or another SHIM_SALT": (
        "host/rotate/test_rotate_compose.py::test_what_would_fail_is_said_before_anything_changes",
        " from the file's, or another SHIM_SALT",
    ),
    "… has the old value again, but …": (
        "host/rotate/test_rotate_compose.py::test_a_service_that_comes_up_with_neither_value_is_said_and_resumed",
        " has the old value again, but ",
    ),
    "… has this value already, in …, which does not run in …": (
        "host/rotate/test_rotate_situations.py::test_numbers_names_and_persons",
        "has this value already, in ",
    ),
    "there is no service … to leave": (
        "host/rotate/test_rotate_situations.py::test_services_that_are_not_up",
        "there is no service ",
    ),
    "the Swarm has secrets of these names that this tool did not create: …; nothing was changed": (
        "host/rotate/test_rotate_situations.py::test_numbers_names_and_persons",
        "secrets of these names that this tool did not create: ",
    ),
    "every service has the new value, and the old one still works: …": (
        "host/rotate/test_rotate_situations.py::test_the_last_steps_hold_nothing_up",
        "every service has the new value, and the old one still works",
    ),
    "… stays: …": (
        "host/rotate/test_rotate_situations.py::test_the_last_steps_hold_nothing_up",
        " stays: ",
    ),
    "it has its old version again, but …": (
        "host/rotate/test_rotate_situations.py::test_a_global_service_that_ends_with_the_new_value_goes_back",
        "it has its old version again, but ",
    ),
    "… was removed in the meantime": (
        "host/rotate/test_rotate_situations.py::test_what_changes_meanwhile",
        " was removed in the meantime",
    ),
    "… was changed by someone else in the meantime, with the version before; it is moved once more": (
        "host/rotate/test_rotate_situations.py::test_what_changes_meanwhile",
        "was changed by someone else in the meantime, with the version before; it is moved once more",
    ),
    "… was changed by someone else in the meantime, with the version before": (
        "host/rotate/test_rotate_situations.py::test_what_is_written_back_once_it_arrived_or_again_and_again_is_taken_back",
        "was changed by someone else in the meantime, with the version before",
    ),
    "… is being changed by someone else, with a different version": (
        "host/rotate/test_rotate_situations.py::test_what_is_written_back_once_it_arrived_or_again_and_again_is_taken_back",
        "is being changed by someone else, with a different version",
    ),
    "the secrets are created, but …": (
        "host/rotate/test_rotate_situations.py::test_what_cannot_be_written_is_known_before_the_lock",
        "the secrets are created, but ",
    ),
    "the services have moved, but …": (
        "host/rotate/test_rotate_situations.py::test_what_cannot_be_written_is_known_before_the_lock",
        "the services have moved, but ",
    ),
    **{
        message: ("host/rotate/test_rotate_elsewhere.py::test_a_task_that_is_to_end_is_no_place_to_speak_to", words)
        for message, words in {
            "no container of the service … runs yet: its task is …": " runs yet: its task is ",
            "its container ended while … ran in it": "its container ended while ",
        }.items()
    },
    **{
        message: ("host/rotate/test_rotate_with.py::test_a_system_that_takes_no_connections_yet_is_waited_for", words)
        for message, words in {
            "the container of … is …": "the container of ",
            "its health check has not succeeded yet": "its health check has not succeeded yet",
        }.items()
    },
    "cannot start …: … did not come up": (
        "host/rotate/test_rotate_compose.py::test_a_container_that_was_stopped_by_hand_is_not_started",
        " did not come up",
    ),
    **{
        message: ("host/rotate/test_rotate_elsewhere.py::test_what_cannot_be_reached_is_said", words)
        for message, words in {
            "no container of the service … runs": "no container of the service ",
            "… runs on another node, and has no network to reach it through": " has no network ",
            "the helper task that speaks to … does not finish: …": " does not finish",
        }.items()
    },
}
