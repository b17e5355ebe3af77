"""The guided tour: the main job on real files, each step checked. `kvarts.cli.commands.tour` shows it."""
