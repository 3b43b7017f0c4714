from common.videos import video_name


def test_names_of_policies_become_a_file_name() -> None:
    name = video_name("zoo:you-shall-not-pass/agent1-v1", "run:../pbt2/victim@21")
    assert name == "zoo-you-shall-not-pass-agent1-v1__run-..-pbt2-victim@21.mp4"
