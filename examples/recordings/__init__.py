"""What `kubectl get -o yaml` prints of clusters in which one thing is wrong, or nothing.

Each case is a function of a few lines: a workload before and after somebody's change, what the
components of Kubernetes then say, and the truth. `recording.py` has what every case needs and
writes the folder, `objects.py` adds what an API server and its controllers add. Messages are in the
words of the kubelet, the scheduler, the API server and the controllers of Kubernetes 1.33. Read a
case first, such as `placing.py`.

`python examples/make_clusters.py` writes `examples/clusters/` anew; a test compares the bytes.
"""
