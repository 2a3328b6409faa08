{{/* The pod of a further Ray node; where no operator does, it waits for the head itself. */}}

{{- define "fusion.workerPod" -}}
metadata: {{- include "fusion.podMetadata" (list . "worker") | nindent 2 }}
spec:
  {{- include "fusion.podSpec" . | nindent 2 }}
  containers:
    - name: ray
      {{- include "fusion.rayContainer" . | nindent 6 }}
      {{- if not (include "fusion.kuberay" .) }}
      {{- $head := printf "%s-head" (include "fusion.name" .) }}
      command:
        - bash
        - -c
        - 'until (exec 3<>/dev/tcp/{{ $head }}/6379) 2>/dev/null; do sleep 1; done; exec ray start "$@"'
        - ray
      args:
        - --address={{ $head }}:6379
        {{- include "fusion.rayArguments" (include "fusion.rayParameters" .) | nindent 8 }}
      {{- end }}
      ports:
        - {name: raylet, containerPort: 6380}
      {{- include "fusion.rayProbes" 6380 | nindent 6 }}
      resources: {{- toYaml .Values.workers.resources | nindent 8 }}
  volumes: {{- include "fusion.volumes" . | nindent 4 }}
{{- end }}
